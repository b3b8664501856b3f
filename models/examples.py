"""What is learnt from: examples and pairs as values, before any tokenizer. Loads no torch, for whoever makes them."""

from typing import NamedTuple

import polars as pl

from perseid.engine import Prompt


class Example(NamedTuple):
    """A response to imitate. steps: of it, with their delimiters. weight: how often it stands in an epoch, rounded."""

    prompt: Prompt
    steps: tuple[str, ...]
    weight: float = 1.0


class Pair(NamedTuple):
    """What is better and what is worse after the same prompt, one step or several each; weight: not negative."""

    prompt: Prompt
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    weight: float = 1.0


class Trained(NamedTuple):
    """What a training tells.

    curve: the loss curve: columns `step`, `loss` (nats a token, or a pair) and `tokens` (seen up to the step).
    left_out: positions of the examples (or pairs) that were longer than the context, and so were not learnt from.
    """

    curve: pl.DataFrame
    left_out: tuple[int, ...] = ()
