"""What the driver calls: each service in the way it is asked, the answers by tree in the order of the trees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import TypeVar

from perseid.engine import Generate
from perseid.search.executions import Executions
from perseid.search.live import Live
from perseid.search.requests import Answers, Execute, Grade, Propose, Score
from perseid.search.services import Services
from perseid.search.states import States

T = TypeVar("T")


class Calls:
    """A context manager; each call is a coroutine. Trees are handed in with requests of the call's kind."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.executions = Executions(services.sandbox, States(services.state_bytes))
        self._grading = ThreadPoolExecutor(1, thread_name_prefix="perseid-grader")

    def __enter__(self) -> Calls:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._grading.shutdown(wait=True)

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
        """On a thread: to compare LaTeX takes long."""
        assert self._services.grader is not None
        grade = self._services.grader.grade
        loop = asyncio.get_running_loop()
        verdicts = await loop.run_in_executor(self._grading, grade, live.problem.problem_id, request.answers)
        return [list(verdicts)]


def _split(flat: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    answers: Iterator[T] = iter(flat)
    return [list(islice(answers, size)) for size in sizes]
