"""Drives all trees of a run together, in waves, with every answer journaled before it is used.

A wave takes one kind of request from every live tree that has one pending, in the order of the problems, and asks the
service once for the whole batch; executions, scores and grades come before the next proposals, so that the policy
always sees the widest batch. The batch is a function of the seed alone: floating point included, a run killed at any
moment and started again replays its journal and ends in the same trees. Which problems share a run does change a real
engine's batches, and with them its last digits; with a batch-invariant engine the trees do not depend on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from perseid.engine import Completion, Generate
from perseid.experiment import Search as Settings
from perseid.problems.problem import Problem
from perseid.sandbox import State
from perseid.search import kernel
from perseid.search.journal import Journal, digest_of
from perseid.search.method import Method
from perseid.search.requests import Execute, Grade, Outcome, Propose, Request, Score
from perseid.search.services import Progress, SandboxFailure, Services, Update
from perseid.search.tree import Tree

VERSION: Final = "1"  # part of the journal's key
ORDER: Final[tuple[type[Request], ...]] = (Execute, Score, Grade, Propose)


@dataclass(slots=True)
class _Live:
    """A tree under way: its generator, what it waits for, the interpreter states of its open nodes."""

    problem: Problem
    asking: Generator[Request, Any, Tree]
    request: Request | None = None
    tree: Tree | None = None
    states: dict[str, State] = field(default_factory=dict)

    def go_on(self, answers: Any) -> None:
        try:
            self.request = self.asking.send(answers)
        except StopIteration as end:
            self.request, self.tree = None, end.value
            self.states.clear()


def run_searches(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    journal: Path | str | None = None,
    progress: Progress | None = None,
) -> list[Tree]:
    """Search every problem; trees in the order of `problems`.

    `journal` is a file; an existing one of the same run is replayed first. Raises `SandboxFailure` when the sandbox
    fails, `UserError` for a journal that is corrupted or cannot be written; what the engine or scorer raises passes.
    """
    if settings.ppm and services.scorer is None:
        raise ValueError("search.ppm: expected a scorer among the services")
    if journal is None:
        return asyncio.run(_run(problems, method, settings, seed, services, None, progress))
    with Journal(journal, run_key(problems, method, settings, seed, services)) as file:
        return asyncio.run(_run(problems, method, settings, seed, services, file, progress))


def run_key(problems: Sequence[Problem], method: Method, settings: Settings, seed: int, services: Services) -> str:
    """What makes two runs the same run: weights, settings, problems, method, code, and whether answers are graded."""
    scorer = services.scorer.weights if services.scorer is not None else ""
    versions = (VERSION, kernel.VERSION, method.key, services.version, str(services.grader is not None))
    asked = [f"{problem.problem_id}\0{problem.question}" for problem in problems]
    return digest_of([*versions, str(seed), services.engine.weights, scorer, settings.model_dump_json(), *asked])


async def _run(
    problems: Sequence[Problem],
    method: Method,
    settings: Settings,
    seed: int,
    services: Services,
    journal: Journal | None,
    progress: Progress | None,
) -> list[Tree]:
    graded = services.grader is not None
    trees = [_Live(problem, kernel.search(problem, method, settings, seed, graded)) for problem in problems]
    tokens = 0
    for live in trees:
        live.go_on(None)
    while wave := _next_wave(trees):
        answers = await _answer(wave, services, journal)
        if isinstance(wave[0].request, Propose):
            tokens += sum(completion.num_tokens for batch in answers for completion in batch)
        for live, batch in zip(wave, answers, strict=True):
            live.go_on(batch)
        if progress is not None:
            progress(_update(trees, tokens))
    return [live.tree for live in trees if live.tree is not None]


def _next_wave(trees: Sequence[_Live]) -> list[_Live]:
    """The trees that wait for the first kind of request that any tree waits for."""
    for kind in ORDER:
        wave = [live for live in trees if isinstance(live.request, kind)]
        if wave:
            return wave
    return []


def _update(trees: Sequence[_Live], tokens: int) -> Update:
    done = [live.tree for live in trees if live.tree is not None]
    return Update(len(done), len(trees), sum(tree.solved for tree in done), tokens)


async def _answer(wave: Sequence[_Live], services: Services, journal: Journal | None) -> list[list[Any]]:
    """One list of answers a tree: from the journal, or from the service and then into the journal."""
    requests = [live.request for live in wave if live.request is not None]
    kind = type(requests[0]).__name__
    asked = digest_of([part for live in wave for part in _identity(live)]) if journal is not None else ""
    if journal is not None and (recorded := journal.recorded(kind, asked)) is not None:
        flat = _decode(kind, recorded)
    else:
        flat = await _serve(wave, services)
        if journal is not None:
            journal.record(kind, asked, _encode(kind, flat))
    answers = iter(flat)
    return [list(islice(answers, _size(request))) for request in requests]


def _identity(live: _Live) -> list[str]:
    """What a request asks, as strings: what a replayed answer must have been the answer to."""
    match live.request:
        case Propose(prompt, seeds, sampling):
            return [live.problem.problem_id, prompt, repr(sampling), *map(str, seeds)]
        case Execute(_, prefix, codes):
            return [live.problem.problem_id, *prefix, *codes]
        case Score(prefixes):
            return [live.problem.problem_id, *prefixes]
        case Grade(answers):
            return [live.problem.problem_id, *answers]
    raise AssertionError("only a tree that waits is in a wave")


def _size(request: Request) -> int:
    match request:
        case Propose(_, seeds, _):
            return len(seeds)
        case Execute(_, _, codes):
            return len(codes)
        case Score(prefixes):
            return len(prefixes)
        case Grade(answers):
            return len(answers)


async def _serve(wave: Sequence[_Live], services: Services) -> list[Any]:
    """The answers of the service to the whole wave, one flat list."""
    match wave[0].request:
        case Propose():
            return await _propose(wave, services)
        case Execute():
            return list(_execute(wave, services))
        case Score():
            prefixes = [prefix for live in wave if isinstance(live.request, Score) for prefix in live.request.prefixes]
            assert services.scorer is not None
            return list(await services.scorer.score(prefixes))
    return _grade(wave, services)


async def _propose(wave: Sequence[_Live], services: Services) -> list[Completion]:
    requests = [live.request for live in wave if isinstance(live.request, Propose)]
    return await services.engine.generate(
        [Generate(request.prompt, seed, request.sampling) for request in requests for seed in request.seeds]
    )


def _grade(wave: Sequence[_Live], services: Services) -> list[bool]:
    assert services.grader is not None
    verdicts: list[bool] = []
    for live in wave:
        if isinstance(live.request, Grade):
            verdicts += services.grader.grade(live.problem.problem_id, live.request.answers)
    return verdicts


def _execute(wave: Sequence[_Live], services: Services) -> list[Outcome]:
    """Bring back the parents' interpreter states that are missing (roots, and everything after a replay), then run."""
    asked = [(live, live.request) for live in wave if isinstance(live.request, Execute)]
    missing = [(live, request) for live, request in asked if request.parent not in live.states]
    rebuilt = _extend(services, [(State.of(*request.prefix[:-1]), request.prefix[-1]) for _, request in missing])
    for (live, request), (outcome, state) in zip(missing, rebuilt, strict=True):
        if outcome.status != "ok":
            raise SandboxFailure(f"{live.problem.problem_id}: steps that ran no longer do: {outcome.error}")
        live.states[request.parent] = state
    pairs = [(live.states[request.parent], code) for live, request in asked for code in request.codes]
    results = iter(_extend(services, pairs))
    outcomes: list[Outcome] = []
    for live, request in asked:
        del live.states[request.parent]
        for node_id, (outcome, state) in zip(request.keep, islice(results, len(request.codes)), strict=True):
            outcomes.append(outcome)
            if node_id and outcome.status == "ok":
                live.states[node_id] = state
    return outcomes


def _extend(services: Services, pairs: Sequence[tuple[State, str]]) -> list[tuple[Outcome, State]]:
    if not pairs:
        return []
    results = []
    for execution, state in services.sandbox.extend_many(pairs):
        if execution.status == "sandbox_error":
            raise SandboxFailure(f"the sandbox failed: {execution.error}")
        results.append((Outcome(execution.status, execution.stdout, execution.error or "", execution.tier), state))
    return results


def _encode(kind: str, answers: Sequence[Any]) -> Any:
    """Columns, which compress better than rows."""
    if kind == "Propose":
        return [[a.text for a in answers], [a.stop for a in answers], [a.num_tokens for a in answers]]
    if kind == "Execute":
        columns = ("status", "stdout", "error", "tier")
        return [[getattr(a, column) for a in answers] for column in columns]
    return [int(a) for a in answers] if kind == "Grade" else list(answers)


def _decode(kind: str, recorded: Any) -> list[Any]:
    if kind == "Propose":
        return [Completion(*row) for row in zip(*recorded, strict=True)]
    if kind == "Execute":
        return [Outcome(*row) for row in zip(*recorded, strict=True)]
    return [bool(a) for a in recorded] if kind == "Grade" else list(recorded)
