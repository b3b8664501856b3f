"""What a method file (`perseid/methods`) supplies to the kernel: how a tree grows, and nothing else.

A method says which actions a node has, what of their drafts stays, where a walk goes on, and what rewards do on their
way up. Limits, execution, scoring and grading are the kernel's. It sees problems without answers, drafts, `Stats` and
`Rated`: none of these says which answer is right, and a request for a verdict is not answered to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from perseid.endings import Ended
from perseid.formats import Draft, Format
from perseid.search.requests import Asking
from perseid.search.settings import Limits
from perseid.search.tree import Stats


class Stop(Exception):
    """Ends a search with the tree as it is; `why` is recorded. Thrown at a `Propose`, or raised by `Method.goes_on`."""

    def __init__(self, why: Ended) -> None:
        super().__init__(why)
        self.why = why


class Standing(NamedTuple):
    """How far a search is. `solved` is None when nothing is graded (inference)."""

    problem_id: str
    rollouts: int
    tokens: int
    samples: int  # drawn at the root
    exhausted: bool
    solved: bool | None
    lead: int = 0  # votes of the answer given most often above those of the next; only where nothing is graded


class View(NamedTuple):
    """A node as an action sees it.

    drafts: those of the path to it, the root left out. steps: their texts, one a step. seeds: `seeds(n)` gives the next
    n of this action at this node, numbers below 2**64 that no other order of work changes.
    """

    question: str
    drafts: tuple[Draft, ...]
    steps: tuple[str, ...]
    standing: Standing
    seeds: Callable[[int], tuple[int, ...]]


class Leaf(NamedTuple):
    """A node that was just made, or that a walk ended at. `reward`: an answer's; None for what is worth nothing to
    anybody: no answer, or one of which the grader cannot tell whether it is right."""

    draft: Draft
    stats: Stats
    reward: float | None


@dataclass(frozen=True, slots=True)
class Rated:
    """An answer as the picker sees it."""

    answer: str
    q: float


class Action(Protocol):
    """One way to go on from a node. See `perseid/search/actions.py`."""

    @property
    def name(self) -> str: ...

    def ask(self, at: View) -> Asking[list[Draft]]:
        """May ask several times (propose, then vote), for proposals and scores."""
        ...


class Method(Protocol):
    """See `perseid/methods/rstar_math.py` for the one to read first."""

    @property
    def key(self) -> str:
        """Name, version, settings, format and whatever else of the method changes trees; part of the journal's key."""
        ...

    @property
    def roles(self) -> tuple[str, ...]:
        """Who answers its requests. Where `ppm` is among them, it scores open nodes and answers as they are made."""
        ...

    @property
    def format(self) -> Format:
        """How questions and steps are written and read."""
        ...

    @property
    def limits(self) -> Limits: ...

    @property
    def closes_upwards(self) -> bool:
        """Whether an exhausted node can exhaust its parent at once."""
        ...

    def goes_on(self, now: Standing) -> bool:
        """Whether to make another rollout; one into an exhausted tree samples its nodes anew. May raise `Stop`."""
        ...

    def actions(self, at: View) -> Sequence[Action]:
        """What an expansion does, side by side; () where nothing may follow."""
        ...

    def keep(self, made: Sequence[Draft], known: Sequence[Draft]) -> list[Draft]:
        """The drafts of one expansion that become children beside the `known` ones."""
        ...

    def enter(self, new: Stats) -> None:
        """Give a new node, its status and prior known, the value that stays with itself."""
        ...

    def reward(self, correct: bool | None, prior: float | None) -> float:
        """The value of an answer: by verdict, or by its prior where there is none."""
        ...

    def next(self, parent: Stats, children: Sequence[Stats], grown: bool, draw: Callable[[int], int]) -> int | None:
        """The index of the child that the walk goes on to; None ends it. At least one child is there.

        grown: the parent was expanded in this walk. `draw(n)` gives a seeded number below n.
        """
        ...

    def grown(self, at: View, path: Sequence[Stats], new: Sequence[Leaf]) -> Asking[None]:
        """After an expansion: back-up, or a simulation. `path` runs from the expanded node to the root."""
        ...

    def landed(self, path: Sequence[Stats], leaf: Leaf) -> None:
        """After a walk that ended at `leaf`: back-up of what was reached. `path` runs from its parent to the root."""
        ...

    def pick(self, answers: Sequence[Rated]) -> str | None:
        """The answer of a search without gold."""
        ...
