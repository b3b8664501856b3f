"""What answers are worth together, and what a reward does on its way up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from perseid.search.method import Leaf, Rated, View
from perseid.search.requests import Asking
from perseid.search.tree import Stats


def best_valued(answers: Sequence[Rated]) -> str | None:
    """The answer with the best Q; among equals the one found most often, then the first. None of none."""
    count = Counter(rated.answer for rated in answers)
    best = max(answers, key=lambda rated: (rated.q, count[rated.answer]), default=None)
    return None if best is None else best.answer


def lead(answers: Iterable[str | None]) -> int:
    """Votes of the answer given most often above those of the next."""
    votes = Counter(answers).most_common(2)
    return (votes[0][1] if votes else 0) - (votes[1][1] if len(votes) > 1 else 0)


def add_along(path: Sequence[Stats], new: Sequence[Leaf]) -> None:
    """q(s)^k = q(s)^(k-1) + q(answer), for each new answer along its whole path, the root included.

    rStar-Math, arXiv 2501.04519, section 3.2. `path` runs from the parent of the new leaves to the root.
    """
    for leaf in new:
        if leaf.reward is not None:
            for stats in (leaf.stats, *path):
                stats.visits += 1
                stats.value_sum += leaf.reward


class AddedAlong:
    """Of a method in which an answer is worth its verdict, or its prior where nothing is graded, to its whole path."""

    def reward(self, correct: bool | None, prior: float | None) -> float:
        if correct is None:
            return prior or 0.0
        return 1.0 if correct else -1.0

    def grown(self, at: View, path: Sequence[Stats], new: Sequence[Leaf]) -> Asking[None]:
        add_along(path, new)
        yield from ()

    def landed(self, path: Sequence[Stats], leaf: Leaf) -> None:
        """Nothing: what was found is backed up as it is made."""

    def pick(self, answers: Sequence[Rated]) -> str | None:
        return best_valued(answers)
