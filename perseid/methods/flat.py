"""Plain sampling: independent whole responses (ReST-EM's sampling step, arXiv 2312.06585; self-consistency's votes).

The comparison that search must beat at equal generated tokens, and how evaluations answer. On the same kernel: every
response is a child of the root. A problem gets `samples` responses, and `samples_unsolved` more while it is unsolved.
`budgets` instead bounds the generated tokens of a problem; the last draw is sized by the mean response so far, so that
a budget is passed by less than one response on average. Greedy decoding is one sample without temperature. Each node is
one sample with its answer, tokens and PPM score.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from perseid.engine import Sampling
from perseid.formats import Draft, Format
from perseid.search.actions import Continue
from perseid.search.method import Action, Standing, Stop, View
from perseid.search.requests import POLICY, PPM
from perseid.search.settings import Limits, MethodSection, Tokens
from perseid.search.tree import Stats
from perseid.search.votes import AddedAlong
from perseid.section import DISCRIMINATOR, canonical

VERSION: Final = "2"


class Settings(MethodSection):
    kind: Annotated[Literal["flat"], DISCRIMINATOR] = "flat"
    samples: int = Field(8, ge=1, le=100_000)
    samples_unsolved: int = Field(0, ge=0, le=100_000)  # further ones for a problem still unsolved after them
    at_once: int = Field(0, ge=0, le=100_000)  # drawn before it is asked whether that is enough; 0: all
    max_tokens: Tokens = 96  # of a whole response

    LENGTH: ClassVar[str] = "max_tokens"

    @property
    def most_calls(self) -> int:
        return self.samples + self.samples_unsolved

    @property
    def at_once_at_most(self) -> int:
        return self.at_once or max(self.samples, self.samples_unsolved)


@dataclass(frozen=True)
class Flat(AddedAlong):
    settings: Settings
    format: Format
    shots: bool = False
    greedy: bool = False
    budgets: Mapping[str, int] = field(default_factory=dict)  # generated tokens by problem id
    closes_upwards: bool = True

    @property
    def key(self) -> str:
        drawn = [json.dumps(canonical(self.settings)), self.shots, self.greedy, sorted(self.budgets.items())]
        return f"flat {VERSION} {drawn} {self.format.key}"

    @property
    def roles(self) -> tuple[str, ...]:
        return (POLICY, PPM) if self.settings.ppm else (POLICY,)

    @property
    def limits(self) -> Limits:
        return self.settings.limits(depth=1)

    @property
    def sampling(self) -> Sampling:
        sampling = self.settings.sampling(self.format.ends)
        return replace(sampling, temperature=0.0) if self.greedy else sampling

    def actions(self, at: View) -> Sequence[Action]:
        width = self.width(at.standing)
        return (Continue(self.format, self.sampling, width, whole=True, shots=self.shots),)

    def width(self, now: Standing) -> int:
        """How many samples are drawn next, at least 1."""
        budget, first = self.budgets.get(now.problem_id), self.settings.samples
        if budget is None:
            due = (first if now.samples < first else self._allowed(now)) - now.samples
            return max(1, min(self.settings.at_once or due, due))
        if not now.samples:
            return first
        mean = max(now.tokens / now.samples, 1.0)
        return max(1, min(first, round((budget - now.tokens) / mean)))

    def _allowed(self, now: Standing) -> int:
        return self.settings.samples + (self.settings.samples_unsolved if now.solved is False else 0)

    def keep(self, made: Sequence[Draft], known: Sequence[Draft]) -> list[Draft]:
        """All of them: how often an answer was sampled is what a majority vote counts."""
        return list(made)

    def goes_on(self, now: Standing) -> bool:
        """Ends a vote (nothing graded, no PPM) once all samples to come could not overtake the leading answer."""
        budget = self.budgets.get(now.problem_id)
        if budget is not None:
            return now.tokens < budget
        left = self._allowed(now) - now.samples
        if left > 0 and now.solved is None and not self.settings.ppm and now.lead > left:
            raise Stop("decided")
        return left > 0

    def next(self, parent: Stats, children: Sequence[Stats], grown: bool, draw: Callable[[int], int]) -> int | None:
        """Every response is a whole program: there is nothing to go on to."""
        return None

    def enter(self, new: Stats) -> None:
        if new.status != "answer":
            new.visits, new.value_sum = 1, -1.0


METHOD: Final = Flat
