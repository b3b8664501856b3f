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

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from perseid.engine import Completion, Sampling
from perseid.experiment import Search
from perseid.formats import TOOLS, Format, Step
from perseid.search.method import Rated, Standing
from perseid.search.tree import Stats


@dataclass(frozen=True)
class RStarMath:
    name: str = "rstar_math"
    format: Format = TOOLS
    version: str = "2"

    @property
    def key(self) -> str:
        return f"{self.name} {self.version}"

    def sampling(self, settings: Search) -> Sampling:
        return Sampling(settings.temperature, settings.top_p, settings.max_step_tokens, self.format.stops)

    def width(self, standing: Standing, settings: Search) -> int:
        return settings.candidates

    def parse(self, completion: Completion) -> Step:
        return self.format.read(completion)

    def keep(self, steps: Sequence[Step], known: Sequence[Step], settings: Search) -> list[Step]:
        """Without duplicates. Parity: by text, and only the first answer if there is one, everything else dropped."""
        parity = is_parity(settings)
        key = _text if parity else self._program
        here = {key(step) for step in known}
        distinct: dict[tuple[object, ...], Step] = {}
        for step in steps:
            if (program := key(step)) not in here:
                distinct.setdefault(program, step)
        kept = list(distinct.values())
        answers = [step for step in kept if step.ends]
        return answers[:1] if parity and answers else kept

    def _program(self, step: Step) -> tuple[object, ...]:
        return step.ends, step.parsed, self.format.program_key(step.code)

    def goes_on(self, standing: Standing, settings: Search) -> bool:
        """`rollouts`, then `rollouts_unsolved` more while no answer is right; an exhausted tree only while unsolved."""
        allowed = settings.rollouts + (settings.rollouts_unsolved if standing.solved is False else 0)
        widens = standing.solved is False and not is_parity(settings)
        return standing.rollouts < allowed and (widens or not standing.exhausted)

    def decided(self, standing: Standing, settings: Search) -> bool:
        """Never: the Q of an answer may change with every rollout."""
        return False

    def closes_upwards(self, settings: Search) -> bool:
        return not is_parity(settings)

    def select(self, parent: Stats, children: Sequence[Stats], settings: Search, draw: Callable[[int], int]) -> int:
        scores = [uct(child, parent.visits, settings.exploration, settings.unvisited) for child in children]
        best = max(scores)
        first = scores.index(best)
        if settings.tie == "first" or scores.count(best) == 1:
            return first
        ties = [index for index, score in enumerate(scores) if score == best]
        return ties[draw(len(ties))]

    def enter(self, node: Stats) -> None:
        """The PPM's score counts as one visit of an open node; a step that failed is -1, and tells nobody else."""
        if node.status == "open" and node.prior is not None:
            node.visits, node.value_sum = 1, node.prior
        elif node.status not in ("open", "answer"):
            node.visits, node.value_sum = 1, -1.0

    def reward(self, correct: bool | None, prior: float | None) -> float:
        if correct is None:
            return prior or 0.0
        return 1.0 if correct else -1.0

    def back_up(self, path: Sequence[Stats], reward: float) -> None:
        """q(s)^k = q(s)^(k-1) + q(answer) along the whole path, the root included."""
        for stats in path:
            stats.visits += 1
            stats.value_sum += reward

    def pick(self, answers: Sequence[Rated]) -> str | None:
        """The answer with the best Q; among equals the one found most often, then the first."""
        count = Counter(rated.answer for rated in answers)
        best = max(answers, key=lambda rated: (rated.q, count[rated.answer]), default=None)
        return None if best is None else best.answer


def is_parity(settings: Search) -> bool:
    """Whether the settings ask for the released code's behaviour."""
    return settings.unvisited == "zero" and settings.tie == "first"


def uct(child: Stats, parent_visits: int, exploration: float, unvisited: str) -> float:
    """Q + c sqrt(ln N(parent) / N(child)); the second term is 0 while the parent has no visit.

    A child without visits scores 0 (`zero`: the released code, confirmed by its author) or infinity (`inf`).
    """
    if child.visits == 0:
        return 0.0 if unvisited == "zero" else math.inf
    if parent_visits == 0:
        return child.q
    return child.q + exploration * math.sqrt(math.log(parent_visits) / child.visits)


def _text(step: Step) -> tuple[object, ...]:
    return step.text, step.ends


METHOD: Final = RStarMath()
