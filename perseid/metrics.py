"""What an evaluation says: pass@k, maj@k, best-of-k, and how sure one may be of it.

Scores are arrays over held-out problems, [P], and samples, [P, n]; every value is a share in [0, 1]. Intervals are
percentile bootstraps over problems: they cover the choice of problems, not the seed of training or the sampling.
Nothing here corrects for many comparisons. All randomness comes from the `seed` given.

Chen et al. 2021 (pass@k); Wang et al. 2022 (majority vote); Efron 1979 (bootstrap).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BLOCK: Final = 4_000_000  # numbers drawn at a time by the bootstrap: about 32 MB


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` problems and its interval."""

    value: float
    low: float
    high: float
    n: int


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that k of n samples, c of them right, drawn without return, hold a right one: 1 - C(n-c, k) / C(n, k)."""
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k: expected 0 <= c <= n and 1 <= k <= n, found n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def pass_at_k_each(correct: npt.ArrayLike, k: int) -> Floats:
    """pass@k of every problem, [P], from which samples are right, [P, n]."""
    right = np.asarray(correct, dtype=bool)
    problems, n = right.shape
    table = np.array([pass_at_k(n, c, k) for c in range(n + 1)]) if problems else np.zeros(n + 1)
    scores: Floats = table[right.sum(axis=1)]
    return scores


def majority(answers: Sequence[str | None], correct: Sequence[bool], weights: Sequence[float] | None = None) -> float:
    """Chance that a vote of the samples picks a right answer; samples without an answer do not vote.

    A tie is settled by lot, and counts with its chance: the share of right ones among the answers with most votes. So
    the order of the samples does not matter, and no seed is needed. `weights` are votes (a PPM's scores, say); answers
    are equal when their texts are, and an answer is right when any sample of it was graded right.
    """
    votes: dict[str, float] = {}
    right: dict[str, bool] = {}
    weights = [1.0] * len(answers) if weights is None else weights
    for answer, is_right, weight in zip(answers, correct, weights, strict=True):
        if answer is not None:
            votes[answer] = votes.get(answer, 0.0) + weight
            right[answer] = right.get(answer, False) or is_right
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if math.isclose(count, most, rel_tol=1e-12)]
    return sum(right[answer] for answer in winners) / len(winners)


def best_of(
    scores: Sequence[float | None], correct: Sequence[bool], answers: Sequence[str | None] | None = None
) -> float:
    """Chance that the sample with the highest score is right; ties count with their chance, as in `majority`.

    Samples without a score, or (where `answers` are given) without an answer, are not picked. Raises `ValueError` for a
    score that is not finite.
    """
    if not all(math.isfinite(score) for score in scores if score is not None):
        raise ValueError(f"best of: expected finite scores, found {scores}")
    given = answers if answers is not None else [""] * len(scores)
    rows = [
        (score, is_right)
        for score, is_right, answer in zip(scores, correct, given, strict=True)
        if score is not None and answer is not None
    ]
    if not rows:
        return 0.0
    best = max(score for score, _ in rows)
    winners = [is_right for score, is_right in rows if score == best]
    return sum(winners) / len(winners)


def bootstrap(values: npt.ArrayLike, *, seed: int, samples: int = 2000, confidence: float = 0.95) -> Estimate:
    """Mean of `values`, [P], with the percentile interval of the means of `samples` resamples over problems.

    No values give a mean and bounds of 0 with n = 0. Equal values give an interval of width 0: with few problems, all
    right, it is narrower than the truth. Raises `ValueError` for values that are not finite.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise ValueError(f"bootstrap: expected one value a problem, found shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"bootstrap: expected finite values, found {scores[~np.isfinite(scores)][:3]}")
    if scores.size == 0:
        return Estimate(0.0, 0.0, 0.0, 0)
    means = _resampled_means(scores, seed, samples)
    low, high = np.quantile(means, _tails(confidence))
    return Estimate(float(scores.mean()), float(low), float(high), scores.size)


def bootstrap_groups(
    values: npt.ArrayLike, groups: Sequence[str], *, seed: int, samples: int = 2000, confidence: float = 0.95
) -> Estimate:
    """Mean of `values`, [P], with the percentile interval of resamples over their groups; `n` counts groups.

    For problems that are variants of each other: a group is drawn with all its problems, or not. Few groups give an
    interval that is too narrow.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.shape != (len(groups),):
        raise ValueError(f"bootstrap: expected a group a value, found {scores.shape} and {len(groups)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"bootstrap: expected finite values, found {scores[~np.isfinite(scores)][:3]}")
    if scores.size == 0:
        return Estimate(0.0, 0.0, 0.0, 0)
    _, place = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    sums, num_groups = np.bincount(place, weights=scores), counts.size
    rng, rows = np.random.default_rng(seed), max(1, BLOCK // num_groups)
    shares, means = np.full(num_groups, 1.0 / num_groups), list[Floats]()
    for start in range(0, samples, rows):
        drawn = rng.multinomial(num_groups, shares, size=min(rows, samples - start))
        means.append(drawn @ sums / (drawn @ counts))
    low, high = np.quantile(np.concatenate(means), _tails(confidence))
    return Estimate(float(scores.mean()), float(low), float(high), num_groups)


def macro(parts: Sequence[npt.ArrayLike], *, seed: int, samples: int = 2000, confidence: float = 0.95) -> Estimate:
    """Mean of the means of `parts`, [P] each and none empty, with the interval of resamples within each part.

    `n` counts all values. No parts give a mean and bounds of 0.
    """
    scores = [np.asarray(part, dtype=np.float64) for part in parts]
    if not all(part.size and np.isfinite(part).all() for part in scores):
        raise ValueError("macro: expected finite values in every part")
    if not scores:
        return Estimate(0.0, 0.0, 0.0, 0)
    seeds = np.random.SeedSequence(seed).generate_state(len(scores))
    drawn = [_resampled_means(part, int(own), samples) for part, own in zip(scores, seeds, strict=True)]
    low, high = np.quantile(np.mean(drawn, axis=0), _tails(confidence))
    value = float(np.mean([part.mean() for part in scores]))
    return Estimate(value, float(low), float(high), sum(part.size for part in scores))


def paired_difference(
    after: npt.ArrayLike, before: npt.ArrayLike, *, seed: int, samples: int = 2000, confidence: float = 0.95
) -> Estimate:
    """Mean of after - before over the same problems in the same order, [P] each, with its paired interval."""
    gains, losses = np.asarray(after, dtype=np.float64), np.asarray(before, dtype=np.float64)
    if gains.shape != losses.shape:
        raise ValueError(f"paired difference: expected the same problems, found {gains.shape} and {losses.shape}")
    return bootstrap(gains - losses, seed=seed, samples=samples, confidence=confidence)


def _tails(confidence: float) -> list[float]:
    tail = (1.0 - confidence) / 2.0
    return [tail, 1.0 - tail]


def _resampled_means(scores: Floats, seed: int, samples: int) -> Floats:
    """Resamples as counts of distinct values: the multinomial is exact and its cost does not grow with P."""
    rng = np.random.default_rng(seed)
    distinct, counts = np.unique(scores, return_counts=True)
    rows = max(1, BLOCK // distinct.size)
    shares = counts / counts.sum()
    blocks = [
        rng.multinomial(scores.size, shares, size=min(rows, samples - start)) @ distinct / scores.size
        for start in range(0, samples, rows)
    ]
    means: Floats = np.concatenate(blocks)
    return means
