"""The drivers that published systems have, over the same kernel and services: only the scheduling differs.

Lock step over a batch of problems (rStar-Math): one blocking generation for all live trees, then all their programs,
then scores and grades, then the next wave; the engine waits for the slowest program, the pool for the longest sequence.
With a batch of one it is one problem at a time (rStar, SRA-MCTS, METEOR).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from perseid.engine import Generate
from perseid.problems.problem import Problem
from perseid.search import Method, Services, Tree, search
from perseid.search.executions import Executions
from perseid.search.requests import Execute, Grade, Propose, Request, Score
from perseid.search.states import States


async def lockstep(
    problems: Sequence[Problem], method: Method, seed: int, services: Services, batch: int
) -> list[Tree]:
    """Every problem, `batch` at a time."""
    trees: list[Tree] = []
    for start in range(0, len(problems), batch):
        trees += await _batch(problems[start : start + batch], method, seed, services)
    return trees


async def _batch(problems: Sequence[Problem], method: Method, seed: int, services: Services) -> list[Tree]:
    asking = [search(problem, method, seed, services.grader is not None) for problem in problems]
    waiting: dict[int, Request] = {index: next(tree) for index, tree in enumerate(asking)}
    trees: dict[int, Tree] = {}
    executions = Executions(services.sandbox, States())
    while waiting:
        kind = next(
            kind for kind in (Execute, Score, Grade, Propose) if any(isinstance(r, kind) for r in waiting.values())
        )
        wave = {index: request for index, request in waiting.items() if isinstance(request, kind)}
        for index, answers in (await _answered(wave, problems, services, executions)).items():
            try:
                waiting[index] = asking[index].send(answers)
            except StopIteration as end:
                trees[index] = end.value
                del waiting[index]
    return [trees[index] for index in range(len(problems))]


async def _answered(
    wave: dict[int, Any], problems: Sequence[Problem], services: Services, executions: Executions
) -> dict[int, list[Any]]:
    """The answers to a whole wave: nobody goes on before all are there."""
    first = next(iter(wave.values()))
    if isinstance(first, Propose):
        asked = [Generate(r.prompt, seed, r.sampling) for r in wave.values() for seed in r.seeds]
        answers = iter(await services.engine.generate(asked))
        return {index: [next(answers) for _ in r.seeds] for index, r in wave.items()}
    if isinstance(first, Execute):
        found = await asyncio.gather(*(executions.answer(index, r) for index, r in wave.items()))
        return dict(zip(wave, found, strict=True))
    if isinstance(first, Score):
        assert services.scorer is not None
        scores = iter(await services.scorer.score([p for r in wave.values() for p in r.prefixes]))
        return {index: [next(scores) for _ in r.prefixes] for index, r in wave.items()}
    assert services.grader is not None
    grade = services.grader.grade
    return {index: await grade(problems[index].problem_id, r.answers) for index, r in wave.items()}
