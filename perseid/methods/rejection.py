"""Rejection sampling: independent whole responses, the right ones kept (ReST-EM's sampling step; arXiv 2312.06585).

The comparison that search must beat at equal generated tokens. On the same kernel: every response is a child of the
root. `budgets` bounds the generated tokens of a problem; the last draw is sized by the mean response so far, so that a
budget is passed by less than one response on average. A problem without a budget gets
`rollouts` times `candidates` responses, and `rollouts_unsolved` more draws while it is unsolved. Not graded, it is
plain sampling (and greedy decoding at `temperature` 0): each node is one sample with its answer, tokens and PPM score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from perseid.engine import Completion, Sampling
from perseid.experiment import Search
from perseid.formats import Step
from perseid.methods.rstar_math import RStarMath
from perseid.search.method import Standing
from perseid.search.tree import Stats


@dataclass(frozen=True)
class Rejection(RStarMath):
    name: str = "rejection"
    budgets: Mapping[str, int] = field(default_factory=dict)  # generated tokens by problem id
    temperature: float | None = None  # None: the settings'

    @property
    def key(self) -> str:
        return f"{self.name} {self.version} {self.temperature} {sorted(self.budgets.items())}"

    def sampling(self, settings: Search) -> Sampling:
        temperature = settings.temperature if self.temperature is None else self.temperature
        return Sampling(temperature, settings.top_p, settings.max_step_tokens * settings.max_depth, self.format.ends)

    def width(self, standing: Standing, settings: Search) -> int:
        budget = self.budgets.get(standing.problem_id)
        if budget is None or standing.samples == 0:
            return settings.candidates
        mean = max(standing.tokens / standing.samples, 1.0)
        return max(1, min(settings.candidates, round((budget - standing.tokens) / mean)))

    def parse(self, completion: Completion) -> Step:
        return self.format.read_whole(completion)

    def keep(self, steps: Sequence[Step], known: Sequence[Step], settings: Search) -> list[Step]:
        """All of them: how often an answer was sampled is what a majority vote counts."""
        return list(steps)

    def goes_on(self, standing: Standing, settings: Search) -> bool:
        budget = self.budgets.get(standing.problem_id)
        if budget is not None:
            return standing.tokens < budget
        allowed = settings.rollouts + (settings.rollouts_unsolved if standing.solved is False else 0)
        return standing.rollouts < allowed

    def decided(self, standing: Standing, settings: Search) -> bool:
        """A vote (nothing graded, no PPM) is, once all samples still to come could not overtake the leading answer."""
        if standing.solved is not None or settings.ppm or standing.problem_id in self.budgets:
            return False
        return standing.lead > (settings.rollouts - standing.rollouts) * settings.candidates

    def select(self, parent: Stats, children: Sequence[Stats], settings: Search, draw: Callable[[int], int]) -> int:
        raise AssertionError("every response is a whole program: there is nothing to descend to")


METHOD: Final = Rejection()
