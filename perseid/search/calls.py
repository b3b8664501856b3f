"""What the driver calls: each service in the way it is asked, the answers to each request in the order of requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

from perseid.engine import Engine, Generate
from perseid.search.executions import Executions
from perseid.search.live import Asked
from perseid.search.requests import Answers, Execute, Grade, Propose, Score
from perseid.search.services import Services
from perseid.search.states import States

T = TypeVar("T")


class Calls:
    """Each call is a coroutine. What is asked is handed in, all of the call's kind."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.executions = Executions(services.sandbox, States(services.state_bytes))

    async def propose(self, engine: Engine, asked: Sequence[Asked]) -> list[Answers]:
        """One call of an engine."""
        requests = [one.request for one in asked if isinstance(one.request, Propose)]
        completions = await engine.generate(
            [Generate(r.prompt, seed, r.sampling) for r in requests for seed in r.seeds]
        )
        return [*_split(completions, [len(r.seeds) for r in requests])]

    async def score(self, asked: Sequence[Asked]) -> list[Answers]:
        """One call of the scorer."""
        requests = [one.request.prefixes for one in asked if isinstance(one.request, Score)]
        assert self._services.scorer is not None
        scores = await self._services.scorer.score([prefix for prefixes in requests for prefix in prefixes])
        return [*_split(scores, [len(prefixes) for prefixes in requests])]

    async def execute(self, asked: Asked, request: Execute) -> list[Answers]:
        return [await self.executions.answer(asked.live.index, request)]

    async def grade(self, asked: Asked, request: Grade) -> list[Answers]:
        assert self._services.grader is not None
        return [await self._services.grader.grade(asked.live.problem.problem_id, request.answers)]


def _split(flat: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    if len(sizes) == 1 and len(flat) == sizes[0]:
        return [list(flat)]
    answers: Iterator[T] = iter(flat)
    return [list(islice(answers, size)) for size in sizes]
