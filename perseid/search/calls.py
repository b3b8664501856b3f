"""What the driver calls: each service in the way it is asked, the answers by tree in the order of the trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from perseid.engine import Generate
from perseid.search.executions import Executions
from perseid.search.live import Live
from perseid.search.requests import Answers, Execute, Grade, Propose, Score
from perseid.search.services import Services
from perseid.search.states import States

T = TypeVar("T")


class Calls:
    """Each call is a coroutine. Trees are handed in with requests of the call's kind."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.executions = Executions(services.sandbox, States(services.state_bytes))

    async def propose(self, trees: Sequence[Live]) -> list[Answers]:
        """One call of the engine."""
        asked = [live.request for live in trees if isinstance(live.request, Propose)]
        requests = [Generate(r.prompt, seed, r.sampling) for r in asked for seed in r.seeds]
        completions = await self._services.engine.generate(requests)
        return [*_split(completions, [len(r.seeds) for r in asked])]

    async def score(self, trees: Sequence[Live]) -> list[Answers]:
        """One call of the scorer."""
        asked = [live.request.prefixes for live in trees if isinstance(live.request, Score)]
        assert self._services.scorer is not None
        scores = await self._services.scorer.score([prefix for prefixes in asked for prefix in prefixes])
        return [*_split(scores, [len(prefixes) for prefixes in asked])]

    async def execute(self, live: Live, request: Execute) -> list[Answers]:
        return [await self.executions.answer(live.index, request)]

    async def grade(self, live: Live, request: Grade) -> list[Answers]:
        assert self._services.grader is not None
        return [await self._services.grader.grade(live.problem.problem_id, request.answers)]


def _split(flat: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    answers: Iterator[T] = iter(flat)
    return [list(islice(answers, size)) for size in sizes]
