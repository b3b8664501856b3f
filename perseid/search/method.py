"""What a method file (`perseid/methods`) supplies to the kernel.

A method is selection, rewards, back-up and the rule for stopping. It sees problems without answers,
`Stats` and `Rated`: none of these says which answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perseid.engine import Completion, Sampling
from perseid.experiment import Search
from perseid.formats import Format, Step
from perseid.search.tree import Stats


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a search is. `solved` is None when nothing is graded (inference)."""

    problem_id: str
    rollouts: int
    tokens: int
    samples: int  # drawn at the root
    exhausted: bool
    solved: bool | None
    lead: int = 0  # votes of the answer given most often above those of the next; only where nothing is graded


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer as the picker sees it."""

    answer: str
    q: float


class Method(Protocol):
    """See `perseid/methods/rstar_math.py` for the one to read first."""

    @property
    def key(self) -> str:
        """Name, version and whatever else of the method changes trees; part of the journal's key."""
        ...

    @property
    def format(self) -> Format:
        """How questions and steps are written and read."""
        ...

    def sampling(self, settings: Search) -> Sampling: ...

    def width(self, standing: Standing, settings: Search) -> int:
        """Samples to draw in an expansion."""
        ...

    def parse(self, completion: Completion) -> Step: ...

    def keep(self, steps: Sequence[Step], known: Sequence[Step], settings: Search) -> list[Step]:
        """The samples of one expansion that become children beside the `known` ones."""
        ...

    def goes_on(self, standing: Standing, settings: Search) -> bool:
        """Whether to make another rollout; one into an exhausted tree samples its nodes anew."""
        ...

    def decided(self, standing: Standing, settings: Search) -> bool:
        """Whether no further rollout can change the answer that `pick` would give."""
        ...

    def closes_upwards(self, settings: Search) -> bool:
        """Whether an exhausted node can exhaust its parent at once."""
        ...

    def select(self, parent: Stats, children: Sequence[Stats], settings: Search, draw: Callable[[int], int]) -> int:
        """The index of the child to descend to; `draw(n)` gives a seeded number below n."""
        ...

    def enter(self, node: Stats) -> None:
        """Give a new node, its status and prior known, the value that stays with itself."""
        ...

    def reward(self, correct: bool | None, prior: float | None) -> float:
        """The value of an answer: by verdict, or by the PPM where there is none."""
        ...

    def back_up(self, path: Sequence[Stats], reward: float) -> None:
        """`path` runs from the answer to the root."""
        ...

    def pick(self, answers: Sequence[Rated]) -> str | None:
        """The answer of a search without gold."""
        ...
