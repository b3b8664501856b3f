"""Tokens drawn from logits, for requests with settings of their own: each by a number that its seed and position give.

In the order of vLLM: the penalty for repeating, the temperature, `min_p`, `top_k`, `top_p`; then by inverse transform
from the one uniform number that belongs to (seed, position), so that who shares a batch changes nothing.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch

from perseid.engine import Sampling

FIRST: Final = 1024  # tokens that are nearly always enough for top_p
AT_ONCE: Final = 2**22  # probabilities that are held in double precision together


class Draw(NamedTuple):
    """One draw: how, with which seed, and the tokens before it, prompt included, where repeating is penalised."""

    sampling: Sampling
    seed: int
    before: Sequence[int] = ()


def drawn(logits: torch.Tensor, draws: Sequence[Draw], position: int) -> torch.Tensor:
    """One token a row of `logits` `[B, V]`, `[B]`: the most likely at temperature 0."""
    logits = _penalised(logits, draws)
    greedy = logits.argmax(-1)
    if not any(draw.sampling.temperature for draw in draws):
        return greedy
    rows = max(1, AT_ONCE // logits.shape[1])
    parts = [
        _sampled(logits[start : start + rows], draws[start : start + rows], position)
        for start in range(0, len(draws), rows)
    ]
    temperature = torch.tensor([draw.sampling.temperature for draw in draws], device=logits.device)
    return torch.where(temperature > 0, torch.cat(parts), greedy)


def _sampled(logits: torch.Tensor, draws: Sequence[Draw], position: int) -> torch.Tensor:
    temperature = _column(draws, "temperature", logits)
    probabilities = torch.softmax(logits.double() / temperature.clamp(min=1e-6)[:, None], dim=-1)
    if any(draw.sampling.min_p for draw in draws):
        least = probabilities.amax(-1) * _column(draws, "min_p", logits)
        probabilities = probabilities.masked_fill(probabilities < least[:, None], 0.0)
    if any(draw.sampling.top_k for draw in draws):
        probabilities = most_likely(probabilities, [draw.sampling.top_k for draw in draws])
    if any(draw.sampling.top_p < 1 for draw in draws):
        probabilities = nucleus(probabilities, _column(draws, "top_p", logits))
    cumulative = probabilities.cumsum(-1)
    numbers = torch.from_numpy(uniform([draw.seed for draw in draws], position)).to(logits.device)
    found = torch.searchsorted(cumulative, (numbers * cumulative[:, -1])[:, None], right=True)[:, 0]
    return found.clamp(max=logits.shape[1] - 1)


def _column(draws: Sequence[Draw], name: str, like: torch.Tensor) -> torch.Tensor:
    return torch.tensor([getattr(draw.sampling, name) for draw in draws], device=like.device)


def _penalised(logits: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
    """Logits of tokens that were there before divided by the penalty, or times it below 0 (Keskar et al. 2019)."""
    told = [(row, draw) for row, draw in enumerate(draws) if draw.sampling.repetition_penalty != 1.0]
    if not told:
        return logits
    logits = logits.clone()
    for row, draw in told:
        seen = torch.tensor(sorted(set(draw.before)), dtype=torch.long, device=logits.device)
        penalty, own = draw.sampling.repetition_penalty, logits[row, seen]
        logits[row, seen] = torch.where(own > 0, own / penalty, own * penalty)
    return logits


def most_likely(probabilities: torch.Tensor, top_k: Sequence[int]) -> torch.Tensor:
    """Zero all but the `top_k` most likely tokens of each row, 0 for all; those as likely as the last stay too."""
    size = probabilities.shape[1]
    counts = torch.tensor([min(k, size) for k in top_k], device=probabilities.device)
    highest = probabilities.topk(int(counts.max()), dim=-1).values
    least = highest.gather(1, (counts - 1).clamp(min=0)[:, None]) * (counts > 0)[:, None]
    return probabilities.masked_fill(probabilities < least, 0.0)


def nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Zero all but the smallest set of tokens whose share of the probability that is left reaches `top_p`."""
    wanted = (top_p * probabilities.sum(-1))[:, None]
    ordered, index = probabilities.topk(min(FIRST, probabilities.shape[1]), dim=-1)
    if bool((ordered.sum(-1, keepdim=True) < wanted).any()):  # a flat row: all of it is sorted, which takes long
        ordered, index = probabilities.sort(dim=-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= wanted] = 0.0
    return torch.zeros_like(probabilities).scatter_(-1, index, ordered)


def uniform(seeds: Sequence[int], position: int) -> np.ndarray:
    """Numbers in [0, 1), one a seed: SplitMix64 (Steele, Lea and Flood 2014) of seed and position."""
    with np.errstate(over="ignore"):
        z = np.array([seed % 2**64 for seed in seeds], dtype=np.uint64)
        z = z + np.uint64(0x9E3779B97F4A7C15) * np.uint64(position + 1)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
