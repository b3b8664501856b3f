"""Drives thousands of searches at once: each tree asks for itself, and every answer is journaled before it is used.

An engine that batches continuously (`concurrency` above 0) is kept full: proposals of all trees wait in one queue, the
least advanced tree goes first (in rollouts, then in proposals), so that all get their share and end together;
executions, scores and grades run meanwhile. No tree waits for another.

An engine that takes one call at a time is called when nothing else is under way, with the proposals of every live
tree; a scorer likewise once no program runs. The batches are then a function of the seed alone: floating point
included, a run killed at any moment and started again replays its journal and ends in the same trees
(docs/decisions/0003). With a continuously batching engine, what is journaled is used verbatim and what was in flight
is generated again; its floating point, and with it now and then a token, depends on who shares a batch.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perseid.experiment import Search as Settings
from perseid.problems.problem import Problem
from perseid.search import kernel
from perseid.search.answers import ENDED, KIND
from perseid.search.calls import Calls
from perseid.search.journal import Journal, digest_of
from perseid.search.live import Live
from perseid.search.method import Method
from perseid.search.requests import Answers, Execute, Grade, Propose, Score
from perseid.search.services import Progress, Services, Update
from perseid.search.tree import Tree

VERSION: Final = "4"  # part of the journal's key
GATHER_S: Final = 0.005  # for which answers are gathered into one record of the journal, while the engine has enough
Finished = Callable[[Tree], None]
AHEAD: Final = 4  # sequences asked for at once, by `concurrency`: half of those are done and wait for a longer sibling


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What came back for some trees, in their order."""

    trees: Sequence[Live]
    answers: asyncio.Future[list[Answers]]
    started_s: float


def run_searches(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    journals: Path | str | None = None,
    progress: Progress | None = None,
) -> list[Tree]:
    """Search every problem and hold all trees, in the order of `problems`. Else as `drive`."""
    trees: dict[str, Tree] = {}
    drive(problems, method, settings, seed, services, lambda t: trees.update({t.problem_id: t}), journals, progress)
    return [trees[problem.problem_id] for problem in problems]


def drive(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    finished: Finished,
    journals: Path | str | None = None,
    progress: Progress | None = None,
) -> None:
    """Search every problem; `finished(tree)` gets each tree as it ends, and nothing else holds it.

    `journals` is a folder that holds a journal a run, named by its key (`run_key`); one of the same run is replayed
    first, others are left alone. Raises `SandboxFailure` when the sandbox fails, `EngineFailure` when the engine or
    scorer does, `UserError` for a journal that is damaged or cannot be written. Interrupted or failed, what was
    answered is in the journal.
    """
    asyncio.run(driving(problems, method, settings, seed, services, finished, journals, progress))


async def driving(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    finished: Finished,
    journals: Path | str | None = None,
    progress: Progress | None = None,
) -> None:
    """`drive` on the caller's event loop."""
    if settings.ppm and services.scorer is None:
        raise ValueError("search.ppm: expected a scorer among the services")
    graded = services.grader is not None

    def ask(index: int) -> Live:
        problem = problems[index]
        return Live(index, problem, kernel.search(problem, method, settings, seed, graded))

    key = run_key(problems, method, settings, seed, services)
    with _rare_collections(), nullcontext() if journals is None else Journal(Path(journals) / key, key) as journal:
        await _Driver(len(problems), ask, settings.limit_s, services, finished, journal, progress).run()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Trees are rings of a great many objects that live long: collecting as often as usual took most of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(100_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def run_key(problems: Sequence[Problem], method: Method, settings: Settings, seed: int, services: Services) -> str:
    """What makes two runs the same run: all that decides what is asked and what is answered."""
    scorer = services.scorer.weights if services.scorer is not None else ""
    grader = services.grader.version if services.grader is not None else ""
    served = (services.engine.weights, scorer, services.sandbox.version, grader)
    asked = [f"{problem.problem_id}\0{problem.question}" for problem in problems]
    versions = (VERSION, kernel.VERSION, method.key, settings.model_dump_json(), str(seed))
    return digest_of([*versions, *served, *asked])


class _Driver:
    """One run: admits trees, sends what they ask for, takes what arrives."""

    def __init__(
        self,
        total: int,
        ask: Callable[[int], Live],
        limit_s: float,
        services: Services,
        finished: Finished,
        journal: Journal | None,
        progress: Progress | None,
    ) -> None:
        self._waiting = map(ask, range(total))
        self._total, self._limit_s, self._services = total, limit_s, services
        self._calls = Calls(services)
        self._finished, self._journal, self._progress = finished, journal, progress
        self._proposals: list[tuple[int, int, int, Live]] = []  # a heap: least advanced first
        self._scores: list[Live] = []
        self._live = self._done = self._solved = self._tokens = self._in_flight = 0
        self._under_way = dict.fromkeys(KIND, 0)  # calls, by kind
        self._tasks: set[asyncio.Task[list[Answers]]] = set()
        self._arrived: list[_Call] = []
        self._arrival = asyncio.Event()

    async def run(self) -> None:
        try:
            self._admit()
            while self._live:
                self._send()
                await self._arrivals()
                self._take()
                self._admit()
                self._report()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._report()

    def _admit(self) -> None:
        """Start trees while there is room; each goes first through what the journal has of it."""
        while self._live < self._services.live_trees and (live := next(self._waiting, None)) is not None:
            self._live += 1
            live.begin()
            if self._journal is not None:
                self._tokens += live.replay(self._journal.replay(live.index))
            self._place(live)

    def _place(self, live: Live) -> None:
        """Where a tree waits, by what it asks for; a finished one is handed over and forgotten."""
        match live.request:
            case None:
                self._end(live)
            case Propose() if self._limit_s and live.served_s >= self._limit_s:
                if self._journal is not None:
                    self._journal.append([(live.index, ENDED, 0, "seconds")])
                live.end("seconds")
                self._end(live)
            case Propose() as request:
                heapq.heappush(self._proposals, (request.rollout, live.proposals, live.index, live))
            case Execute() as request:
                self._call([live], self._calls.execute(live, request))
            case Score():
                self._scores.append(live)
            case Grade() as request:
                self._call([live], self._calls.grade(live, request))

    def _end(self, live: Live) -> None:
        assert live.tree is not None
        self._calls.executions.drop(live.index)
        self._live -= 1
        self._done += 1
        self._solved += live.tree.solved
        self._finished(live.tree)

    def _send(self) -> None:
        """Ask scorer and engine for what waits, each as it takes it."""
        whole = self._services.engine.concurrency == 0
        if self._scores and not self._under_way[Score] and not (whole and self._under_way[Execute]):
            batch = sorted(self._scores, key=lambda live: live.index)
            self._scores = []
            self._call(batch, self._calls.score(batch))
        if not whole:
            while self._proposals and self._in_flight < AHEAD * self._services.engine.concurrency:
                self._propose([heapq.heappop(self._proposals)[-1]])
        elif self._proposals and not self._tasks:
            self._propose(sorted((live for *_, live in self._proposals), key=lambda live: live.index))
            self._proposals = []

    def _propose(self, trees: Sequence[Live]) -> None:
        self._in_flight += sum(len(live.request.seeds) for live in trees if isinstance(live.request, Propose))
        self._call(trees, self._calls.propose(trees))

    def _call(self, trees: Sequence[Live], answers: Coroutine[None, None, list[Answers]]) -> None:
        loop = asyncio.get_running_loop()
        kind, started_s = type(trees[0].request), loop.time()
        self._under_way[kind] += 1  # type: ignore[index]
        task = loop.create_task(answers)
        self._tasks.add(task)

        def arrived(task: asyncio.Task[list[Answers]]) -> None:
            self._tasks.discard(task)
            self._under_way[kind] -= 1  # type: ignore[index]
            if not task.cancelled():
                self._arrived.append(_Call(trees, task, started_s))
                self._arrival.set()

        task.add_done_callback(arrived)

    async def _arrivals(self) -> None:
        """Wait for answers, and a little for more where that idles nobody: those that arrive together are one record.

        Where the engine is only called when nothing is under way, nobody waits for less than all of them.
        """
        await self._arrival.wait()
        if self._services.engine.concurrency == 0:
            while self._tasks:
                self._arrival.clear()
                await self._arrival.wait()
        elif self._journal is not None and self._in_flight > self._services.engine.concurrency:
            await asyncio.sleep(GATHER_S)

    def _take(self) -> None:
        """Journal all that arrived, then let its trees go on."""
        calls, self._arrived = self._arrived, []
        self._arrival.clear()
        now = asyncio.get_running_loop().time()
        arrived = [
            (live, answers, now - call.started_s)
            for call in calls
            for live, answers in zip(call.trees, call.answers.result(), strict=True)
        ]
        if self._journal is not None:
            self._journal.append([live.entry(answers) for live, answers, _ in arrived])
        for live, answers, took_s in arrived:
            if isinstance(live.request, Propose):
                self._in_flight -= len(live.request.seeds)
            live.served_s += took_s
            self._tokens += live.go_on(answers)
            self._place(live)

    def _report(self) -> None:
        if self._progress is not None:
            counts = (self._calls.executions.run, self._calls.executions.reused, self._in_flight)
            self._progress(Update(self._done, self._total, self._solved, self._tokens, *counts))
