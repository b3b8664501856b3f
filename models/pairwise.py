"""What a preference pair teaches, and how the logits that come of it are served.

Bradley-Terry: that `chosen` is preferred has the probability sigmoid(r(chosen) - r(rejected)), and the loss is its
negative logarithm (rStar-Math, arXiv 2501.04519, section 3.3: the process preference model). Only differences count:
a constant added to all logits changes nothing, so a score has an order and no zero of its own.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def pairwise_loss(chosen: Tensor, rejected: Tensor, weight: Tensor) -> Tensor:
    """The mean of -log sigmoid(chosen - rejected), each pair counted by its weight.

    The paper divides by the 2 x 2 pairs of a step; here a pair brings its own weight (1 / pairs of its step), and the
    mean over the batch makes the loss, in nats a pair, independent of the scale of the weights.

    Args:
        chosen, rejected: raw logits `[B]`.
        weight: `[B]`, not negative, of positive sum.

    Returns:
        `[]`, not negative; its gradient is negative in `chosen`, positive in `rejected`, and the two sum to 0.
    """
    return -(weight * logsigmoid(chosen - rejected)).sum() / weight.sum()


def served(logits: Tensor, scale: float) -> Tensor:
    """Scores in (-1, 1), as Q values are: tanh(logit / scale), `[B]` of `[B]`."""
    return torch.tanh(logits / scale)
