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
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from perseid.engine import Generate
from perseid.experiment import Search as Settings
from perseid.problems.problem import Problem
from perseid.search import kernel
from perseid.search.answers import ENDED, KIND, decoded, digest, encoded
from perseid.search.executions import Executions
from perseid.search.journal import Entry, Journal, Replay, digest_of
from perseid.search.method import Method
from perseid.search.requests import Execute, Grade, Propose, Request, Score
from perseid.search.services import Progress, Services, Update
from perseid.search.states import States
from perseid.search.tree import Tree

VERSION: Final = "3"  # part of the journal's key
GATHER_S: Final = 0.005  # for which answers are gathered into one record of the journal, while the engine has enough
Finished = Callable[[Tree], None]
AHEAD: Final = 4  # sequences asked for at once, by `concurrency`: half of those are done and wait for a longer sibling


@dataclass(slots=True, eq=False)
class _Live:
    """A tree under way: its generator, what it waits for, and how much it has had."""

    index: int
    problem: Problem
    asking: Generator[Request, Any, Tree]
    request: Request | None = None
    tree: Tree | None = None
    proposals: int = 0  # answered
    served_s: float = 0.0  # in which something worked for it

    def go_on(self, answers: Any) -> None:
        try:
            self.request = self.asking.send(answers)
        except StopIteration as end:
            self.request, self.tree = None, end.value

    def end(self, why: Any) -> None:
        """Only at a proposal, where the tree is whole."""
        try:
            self.asking.throw(kernel.Stop(why))
        except StopIteration as end:
            self.request, self.tree = None, end.value


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What came back for some trees, in their order."""

    trees: Sequence[_Live]
    answers: asyncio.Future[list[list[Any]]]
    started_s: float


def run_searches(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    journal: Path | str | None = None,
    progress: Progress | None = None,
) -> list[Tree]:
    """Search every problem and hold all trees, in the order of `problems`. Else as `drive`."""
    trees: dict[str, Tree] = {}
    drive(problems, method, settings, seed, services, lambda t: trees.update({t.problem_id: t}), journal, progress)
    return [trees[problem.problem_id] for problem in problems]


def drive(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    finished: Finished,
    journal: Path | str | None = None,
    progress: Progress | None = None,
) -> None:
    """Search every problem; `finished(tree)` gets each tree as it ends, and nothing else holds it.

    `journal` is a file; an existing one of the same run is replayed first. Raises `SandboxFailure` when the sandbox
    fails, `EngineFailure` when the engine or scorer does, `UserError` for a journal that is corrupted or cannot be
    written; interrupted or failed, what was answered is in the journal.
    """
    asyncio.run(driving(problems, method, settings, seed, services, finished, journal, progress))


async def driving(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    finished: Finished,
    journal: Path | str | None = None,
    progress: Progress | None = None,
) -> None:
    """`drive` on the caller's event loop."""
    if settings.ppm and services.scorer is None:
        raise ValueError("search.ppm: expected a scorer among the services")
    graded = services.grader is not None

    def ask(index: int) -> _Live:
        problem = problems[index]
        return _Live(index, problem, kernel.search(problem, method, settings, seed, graded))

    key = run_key(problems, method, settings, seed, services)
    with _rare_collections(), nullcontext() if journal is None else Journal(journal, key) as file:
        await _Driver(len(problems), ask, settings.limit_s, services, finished, file, progress).run()


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
    """What makes two runs the same run: weights, settings, problems, method, code, and whether answers are graded."""
    scorer = services.scorer.weights if services.scorer is not None else ""
    versions = (VERSION, kernel.VERSION, method.key, services.version, str(services.grader is not None))
    asked = [f"{problem.problem_id}\0{problem.question}" for problem in problems]
    return digest_of([*versions, str(seed), services.engine.weights, scorer, settings.model_dump_json(), *asked])


class _Driver:
    """One run: admits trees, sends what they ask for, takes what arrives."""

    def __init__(
        self,
        total: int,
        ask: Callable[[int], _Live],
        limit_s: float,
        services: Services,
        finished: Finished,
        journal: Journal | None,
        progress: Progress | None,
    ) -> None:
        self._waiting = map(ask, range(total))
        self._total, self._limit_s, self._services = total, limit_s, services
        self._finished, self._journal, self._progress = finished, journal, progress
        self._executions = Executions(services.sandbox, States(services.state_bytes))
        self._proposals: list[tuple[int, int, int, _Live]] = []  # a heap: least advanced first
        self._scores: list[_Live] = []
        self._live = self._done = self._solved = self._tokens = self._in_flight = 0
        self._under_way = dict.fromkeys(KIND, 0)  # calls, by kind
        self._tasks: set[asyncio.Task[list[list[Any]]]] = set()
        self._arrived: list[_Call] = []
        self._arrival = asyncio.Event()

    async def run(self) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="perseid-grader") as self._grading:
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
            live.go_on(None)
            if self._journal is not None:
                self._replay(live, self._journal.replay(live.index))
            self._place(live)

    def _replay(self, live: _Live, recorded: Replay) -> None:
        while (request := live.request) is not None:
            if (why := recorded.ends_with(ENDED)) is not None:
                live.end(why)
            elif (answers := recorded.next(KIND[type(request)], digest(request))) is not None:
                self._give(live, decoded(request, answers))
            else:
                return

    def _give(self, live: _Live, answers: list[Any]) -> None:
        if isinstance(live.request, Propose):
            live.proposals += 1
            self._tokens += sum(completion.num_tokens for completion in answers)
        live.go_on(answers)

    def _place(self, live: _Live) -> None:
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
                self._call([live], self._execute(live, request))
            case Score():
                self._scores.append(live)
            case Grade() as request:
                self._call([live], self._grade(live, request))

    def _end(self, live: _Live) -> None:
        assert live.tree is not None
        self._executions.drop(live.index)
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
            self._call(batch, self._score(batch))
        if not whole:
            while self._proposals and self._in_flight < AHEAD * self._services.engine.concurrency:
                self._propose([heapq.heappop(self._proposals)[-1]])
        elif self._proposals and not self._tasks:
            self._propose(sorted((live for *_, live in self._proposals), key=lambda live: live.index))
            self._proposals = []

    def _propose(self, trees: Sequence[_Live]) -> None:
        asked = [live.request for live in trees if isinstance(live.request, Propose)]
        requests = [Generate(r.prompt, seed, r.sampling) for r in asked for seed in r.seeds]
        self._in_flight += len(requests)
        self._call(trees, self._generate(requests, [len(r.seeds) for r in asked]))

    def _call(self, trees: Sequence[_Live], answers: Coroutine[Any, Any, list[list[Any]]]) -> None:
        loop = asyncio.get_running_loop()
        kind, started_s = type(trees[0].request), loop.time()
        self._under_way[kind] += 1  # type: ignore[index]
        task = loop.create_task(answers)
        self._tasks.add(task)

        def arrived(task: asyncio.Task[list[list[Any]]]) -> None:
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
            self._journal.append([_entry(live, answers) for live, answers, _ in arrived])
        for live, answers, took_s in arrived:
            if isinstance(live.request, Propose):
                self._in_flight -= len(live.request.seeds)
            live.served_s += took_s
            self._give(live, answers)
            self._place(live)

    async def _generate(self, requests: Sequence[Generate], sizes: Sequence[int]) -> list[list[Any]]:
        return _split(await self._services.engine.generate(requests), sizes)

    async def _score(self, trees: Sequence[_Live]) -> list[list[Any]]:
        asked = [live.request.prefixes for live in trees if isinstance(live.request, Score)]
        assert self._services.scorer is not None
        scores = await self._services.scorer.score([prefix for prefixes in asked for prefix in prefixes])
        return _split(scores, [len(prefixes) for prefixes in asked])

    async def _execute(self, live: _Live, request: Execute) -> list[list[Any]]:
        return [await self._executions.answer(live.index, request)]

    async def _grade(self, live: _Live, request: Grade) -> list[list[Any]]:
        """On a thread: to compare LaTeX takes long."""
        assert self._services.grader is not None
        grade = self._services.grader.grade
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._grading, grade, live.problem.problem_id, request.answers)]

    def _report(self) -> None:
        if self._progress is not None:
            counts = (self._executions.run, self._executions.reused, self._in_flight)
            self._progress(Update(self._done, self._total, self._solved, self._tokens, *counts))


def _entry(live: _Live, answers: list[Any]) -> Entry:
    assert live.request is not None
    return live.index, KIND[type(live.request)], digest(live.request), encoded(live.request, answers)


def _split(flat: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    answers: Iterator[Any] = iter(flat)
    return [list(islice(answers, size)) for size in sizes]
