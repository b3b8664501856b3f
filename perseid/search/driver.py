"""Drives thousands of searches at once: each tree asks for itself, and every answer is journaled before it is used.

An engine that batches continuously (`concurrency` above 0) is kept full: proposals of all trees wait in one queue, the
least advanced tree goes first (in rollouts, then in proposals), so that all get their share and end together;
executions, scores and grades run meanwhile. No tree waits for another.

What a tree asks side by side (`Batch`) is asked so: its parts wait with those of all trees, each for who answers it.

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

from perseid.problems.problem import Problem
from perseid.search import kernel
from perseid.search.answers import ENDED, KIND
from perseid.search.calls import Calls
from perseid.search.journal import Journal, digest_of
from perseid.search.live import Asked, Live
from perseid.search.method import Method
from perseid.search.requests import POLICY, Answers, Execute, Grade, Propose, Request, Score
from perseid.search.services import Progress, Services, Update
from perseid.search.tree import Tree

VERSION: Final = "4"  # part of the journal's key
GATHER_S: Final = 0.005  # for which answers are gathered into one record of the journal, while the engine has enough
Finished = Callable[[Tree], None]
AHEAD: Final = 4  # sequences asked for at once, by `concurrency`: half of those are done and wait for a longer sibling


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What came back for some requests, in their order."""

    asked: Sequence[Asked]
    answers: asyncio.Future[list[Answers]]
    started_s: float


def run_searches(
    problems: Sequence[Problem],
    method: Method,
    seed: int,
    services: Services,
    journals: Path | str | None = None,
    progress: Progress | None = None,
) -> list[Tree]:
    """Search every problem and hold all trees, in the order of `problems`. Else as `drive`."""
    trees: dict[str, Tree] = {}
    drive(problems, method, seed, services, lambda tree: trees.update({tree.problem_id: tree}), journals, progress)
    return [trees[problem.problem_id] for problem in problems]


def drive(
    problems: Sequence[Problem],
    method: Method,
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
    asyncio.run(driving(problems, method, seed, services, finished, journals, progress))


async def driving(
    problems: Sequence[Problem],
    method: Method,
    seed: int,
    services: Services,
    finished: Finished,
    journals: Path | str | None = None,
    progress: Progress | None = None,
) -> None:
    """`drive` on the caller's event loop."""
    if missing := set(method.roles) - services.roles:
        raise ValueError(f"expected {', '.join(sorted(missing))} among the services: the method asks them")
    graded = services.grader is not None

    def ask(index: int) -> Live:
        problem = problems[index]
        return Live(index, problem, kernel.search(problem, method, seed, graded))

    key = run_key(problems, method, seed, services)
    with _rare_collections(), nullcontext() if journals is None else Journal(Path(journals) / key, key) as journal:
        await _Driver(len(problems), ask, method.limits.seconds, services, finished, journal, progress).run()


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Trees are rings of a great many objects that live long: collecting as often as usual took most of the time."""
    usual = gc.get_threshold()
    gc.set_threshold(200_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def run_key(problems: Sequence[Problem], method: Method, seed: int, services: Services) -> str:
    """What makes two runs the same run: all that decides what is asked and what is answered."""
    scorer = services.scorer.weights if services.scorer is not None else ""
    grader = services.grader.version if services.grader is not None else ""
    others = [f"{role}\0{engine.weights}" for role, engine in sorted(services.others.items())]
    served = (services.engine.weights, scorer, services.sandbox.version, grader, *others)
    asked = [f"{problem.problem_id}\0{problem.question}" for problem in problems]
    versions = (VERSION, kernel.VERSION, method.key, str(seed))
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
        self._engines = services.engines
        # Heaps, by role: least advanced first. Each holds (rollout, proposals answered, tree, place, what is asked).
        self._proposals: dict[str, list[tuple[int, int, int, int, Asked]]] = {role: [] for role in self._engines}
        self._in_flight = dict.fromkeys(self._engines, 0)  # sequences, by role
        self._scores: list[Asked] = []
        self._live = self._done = self._solved = self._tokens = 0
        self._under_way: dict[type[Request], int] = dict.fromkeys(KIND, 0)  # calls, by kind
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
        if self._limit_s and live.served_s >= self._limit_s and live.proposes and live.answered:
            if self._journal is not None:
                self._journal.append([(live.index, ENDED, 0, "seconds")])
            live.end("seconds")
        if live.request is None:
            self._end(live)
        for asked in live.waits_for():
            match asked.request:
                case Propose() as request:
                    order = (request.rollout, live.proposals, live.index, asked.place, asked)
                    heapq.heappush(self._proposals[request.role], order)
                case Execute() as request:
                    self._call([asked], self._calls.execute(asked, request))
                case Score():
                    self._scores.append(asked)
                case Grade() as request:
                    self._call([asked], self._calls.grade(asked, request))

    def _end(self, live: Live) -> None:
        assert live.tree is not None
        self._calls.executions.drop(live.index)
        self._live -= 1
        self._done += 1
        self._solved += live.tree.solved
        self._finished(live.tree)

    def _send(self) -> None:
        """Ask scorer and engine for what waits, each as it takes it."""
        if self._scores and not self._under_way[Score] and not (self._whole and self._under_way[Execute]):
            batch = sorted(self._scores, key=_by_tree)
            self._scores = []
            self._call(batch, self._calls.score(batch))
        idle = not self._tasks
        for role, waiting in self._proposals.items():
            concurrency = self._engines[role].concurrency
            if concurrency:
                while waiting and self._in_flight[role] < AHEAD * concurrency:
                    self._propose(role, [heapq.heappop(waiting)[-1]])
            elif waiting and (idle if self._whole else not self._in_flight[role]):
                self._propose(role, sorted((asked for *_, asked in waiting), key=_by_tree))
                waiting.clear()

    @property
    def _whole(self) -> bool:
        """Whether the policy's engine takes one call at a time: then nobody waits for less than all answers."""
        return self._services.engine.concurrency == 0

    def _propose(self, role: str, asked: Sequence[Asked]) -> None:
        self._in_flight[role] += sum(_sequences(one) for one in asked)
        self._call(asked, self._calls.propose(self._engines[role], asked))

    def _call(self, asked: Sequence[Asked], answers: Coroutine[None, None, list[Answers]]) -> None:
        loop = asyncio.get_running_loop()
        kind, started_s = type(asked[0].request), loop.time()
        self._under_way[kind] += 1
        task = loop.create_task(answers)
        self._tasks.add(task)

        def arrived(task: asyncio.Task[list[Answers]]) -> None:
            self._tasks.discard(task)
            self._under_way[kind] -= 1
            if not task.cancelled():
                self._arrived.append(_Call(asked, task, started_s))
                self._arrival.set()

        task.add_done_callback(arrived)

    async def _arrivals(self) -> None:
        """Wait for answers, and a little for more where that idles nobody: those that arrive together are one record.

        Where the engine is only called when nothing is under way, nobody waits for less than all of them.
        """
        await self._arrival.wait()
        if self._whole:
            while self._tasks:
                self._arrival.clear()
                await self._arrival.wait()
        elif self._journal is not None and self._in_flight[POLICY] > self._services.engine.concurrency:
            await asyncio.sleep(GATHER_S)

    def _take(self) -> None:
        """Journal all that arrived, then let the trees go on that wait for nothing else."""
        calls, self._arrived = self._arrived, []
        self._arrival.clear()
        if failed := [error for call in calls if (error := call.answers.exception()) is not None]:
            raise failed[0]
        now = asyncio.get_running_loop().time()
        arrived = [
            (asked, answers, now - call.started_s)
            for call in calls
            for asked, answers in zip(call.asked, call.answers.result(), strict=True)
        ]
        if self._journal is not None:
            self._journal.append([asked.entry(answers) for asked, answers, _ in arrived])
        for asked, answers, took_s in arrived:
            if isinstance(asked.request, Propose):
                self._in_flight[asked.request.role] -= _sequences(asked)
            self._tokens += asked.live.take(asked.place, answers, took_s)
            if asked.live.answered:
                self._place(asked.live)

    def _report(self) -> None:
        if self._progress is not None:
            counts = (self._calls.executions.run, self._calls.executions.reused, sum(self._in_flight.values()))
            self._progress(Update(self._done, self._total, self._solved, self._tokens, *counts))


def _by_tree(asked: Asked) -> tuple[int, int]:
    return asked.live.index, asked.place


def _sequences(asked: Asked) -> int:
    return len(asked.request.seeds) if isinstance(asked.request, Propose) else 0
