"""rStar-Math (arXiv 2501.04519, section 3): MCTS over steps that are code and are run as made.

Terminal-guided when the settings have no PPM: an answer is worth +1 or -1, interior nodes start at 0. PPM-augmented:
an interior node starts from its PPM score, counted as one visit. Inference (nothing graded): an answer is worth its
PPM score, or 0 without a PPM, where the most frequent answer wins.

The parity preset (`unvisited: zero`, `tie: first`) does as the released code. The default departs from it where that
code starves the search, and only there:
- an unvisited child comes first, and ties are drawn by seed;
- siblings with equal code are one child, whatever their comments say; the released code compares the text. What is a
  comment is for Python's tokenizer to say: a `#` inside a string is none;
- an answer among the samples does not drop the others. With one-line answer steps that rule would keep a single
  reader-function pair a level and end the exploration that the method is for;
- an exhausted subtree closes its parent at once and costs no rollout, and while a problem is unsolved an exhausted
  tree is sampled anew ("trees from different seeds" in the paper's last round).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from perseid.formats import Draft, Format
from perseid.search.actions import Continue
from perseid.search.method import Action, Standing, View
from perseid.search.requests import POLICY, PPM
from perseid.search.settings import Limits, MethodSection, Tokens
from perseid.search.tree import Stats
from perseid.search.votes import AddedAlong
from perseid.section import DISCRIMINATOR, canonical

VERSION: Final = "2"


class Settings(MethodSection):
    """The paper's numbers are 8 to 64 rollouts of 5 to 16 candidates; these fit problems of a few short steps."""

    kind: Annotated[Literal["rstar_math"], DISCRIMINATOR] = "rstar_math"
    candidates: int = Field(6, ge=1, le=1024)  # samples an expansion
    rollouts: int = Field(16, ge=1, le=100_000)
    rollouts_unsolved: int = Field(0, ge=0, le=100_000)  # further rollouts for a problem still unsolved after them
    exploration: float = Field(2.0, ge=0.0, le=1000.0)  # c of UCT
    unvisited: Literal["zero", "inf"] = "inf"  # UCT's term of an unvisited child: "zero" is the parity preset
    tie: Literal["first", "random"] = "random"
    max_depth: int = Field(16, ge=1, le=512)  # steps
    max_step_tokens: Tokens = 16
    errors_threshold: int = Field(1, ge=1, le=1024)  # consecutive failed steps that close a node

    LENGTH: ClassVar[str] = "max_step_tokens"

    @property
    def most_calls(self) -> int:
        return (self.rollouts + self.rollouts_unsolved) * self.max_depth * self.candidates

    @property
    def at_once_at_most(self) -> int:
        return self.candidates

    @property
    def parity(self) -> bool:
        """Whether the settings ask for the released code's behaviour."""
        return self.unvisited == "zero" and self.tie == "first"


@dataclass(frozen=True)
class RStarMath(AddedAlong):
    settings: Settings
    format: Format
    shots: bool = False

    @property
    def key(self) -> str:
        return f"rstar_math {VERSION} {json.dumps(canonical(self.settings))} {self.format.key} {self.shots}"

    @property
    def roles(self) -> tuple[str, ...]:
        return (POLICY, PPM) if self.settings.ppm else (POLICY,)

    @cached_property
    def limits(self) -> Limits:
        return self.settings.limits(self.settings.max_depth, self.settings.errors_threshold)

    @property
    def closes_upwards(self) -> bool:
        return not self.settings.parity

    @cached_property
    def step(self) -> Continue:
        sampling = self.settings.sampling(self.format.stops)
        return Continue(self.format, sampling, self.settings.candidates, shots=self.shots)

    def actions(self, at: View) -> Sequence[Action]:
        return (self.step,)

    def keep(self, made: Sequence[Draft], known: Sequence[Draft]) -> list[Draft]:
        """Without duplicates. Parity: by text, and only the first answer if there is one, everything else dropped."""
        parity = self.settings.parity
        keys = _texts if parity else self._programs
        here = set(keys(known))
        distinct: dict[tuple[object, ...], Draft] = {}
        for key, draft in zip(keys(made), made, strict=True):
            if key not in here:
                distinct.setdefault(key, draft)
        kept = list(distinct.values())
        answers = [draft for draft in kept if draft.ends] if parity else []
        return answers[:1] or kept

    def _programs(self, drafts: Sequence[Draft]) -> list[tuple[object, ...]]:
        key = self.format.program_key
        return [(d.ends, d.parsed, key(d.text if d.program is None else d.program)) for d in drafts]

    def goes_on(self, now: Standing) -> bool:
        """`rollouts`, then `rollouts_unsolved` more while no answer is right; an exhausted tree only while unsolved."""
        allowed = self.settings.rollouts + (self.settings.rollouts_unsolved if now.solved is False else 0)
        widens = now.solved is False and not self.settings.parity
        return now.rollouts < allowed and (widens or not now.exhausted)

    def next(self, parent: Stats, children: Sequence[Stats], grown: bool, draw: Callable[[int], int]) -> int | None:
        """The open child of the highest UCT; where all nodes are sampled again, else the exhausted one."""
        choice = [index for index, child in enumerate(children) if child.status == "open"]
        if not choice and grown:
            choice = [index for index, child in enumerate(children) if child.status == "exhausted"]
        if not choice:
            return None
        visits, exploration, unvisited = parent.visits, self.settings.exploration, self.settings.unvisited
        scores = [uct(children[index], visits, exploration, unvisited) for index in choice]
        best = max(scores)
        if self.settings.tie == "first" or scores.count(best) == 1:
            return choice[scores.index(best)]
        ties = [index for index, score in zip(choice, scores, strict=True) if score == best]
        return ties[draw(len(ties))]

    def enter(self, new: Stats) -> None:
        """The PPM's score counts as one visit of an open node; a step that failed is -1, and tells nobody else."""
        if new.status == "open" and new.prior is not None:
            new.visits, new.value_sum = 1, new.prior
        elif new.status not in ("open", "answer"):
            new.visits, new.value_sum = 1, -1.0


def uct(child: Stats, parent_visits: int, exploration: float, unvisited: str) -> float:
    """Q + c sqrt(ln N(parent) / N(child)); the second term is 0 while the parent has no visit.

    A child without visits scores 0 (`zero`: the released code, confirmed by its author) or infinity (`inf`).
    """
    if child.visits == 0:
        return 0.0 if unvisited == "zero" else math.inf
    if parent_visits == 0:
        return child.q
    return child.q + exploration * math.sqrt(math.log(parent_visits) / child.visits)


def _texts(drafts: Sequence[Draft]) -> list[tuple[object, ...]]:
    return [(draft.text, draft.ends) for draft in drafts]


METHOD: Final = RStarMath
