"""Answers to the fixed held-out problems: greedy, k samples, a small search, and sampling at the search's tokens.

Every way of answering runs on the search kernel without grading, so nothing that answers can see gold; only afterwards
does the judge say which answers are right. Every question that is asked has its rows, whatever came of it: one that
the engine refuses (it is longer than the context) is not answered, and so is not answered right. What the rows prove
is `perseid.evaluation.measure`, by parts of the held-out set too. Not covered: how far the held-out questions are from
what the policy has seen; only that they are others.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import polars as pl

from perseid import tables
from perseid.engine import Engine, Scorer
from perseid.evaluation.settings import Evaluation
from perseid.formats import Format
from perseid.graders import BUILT_IN, Grader, Judge, Verdict
from perseid.methods import flat, rstar_math
from perseid.methods.flat import Flat
from perseid.methods.rstar_math import RStarMath
from perseid.problems import Gold, Problem
from perseid.sandbox import Execution, State
from perseid.search import Method, SandboxFailure, Services, Tree, picked, run_searches
from perseid.search.services import Runner


class Given(NamedTuple):
    """What came of asking a policy: a row of `evaluations` but for the verdict."""

    problem_id: str
    arm: str
    decoding: str
    sample: int
    status: str
    answer: str | None
    tokens: int
    ppm: float | None


class Reruns(Protocol):
    """Runs programs again. `perseid.sandbox.Sandbox` is one."""

    def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]: ...


@dataclass(frozen=True)
class Examiner:
    """What answers are made and judged with, whichever policy is asked."""

    format: Format
    settings: Evaluation
    seed: int
    sandbox: Runner
    judge: Judge
    shots: bool = False  # the policy is shown worked examples


def greedy(problems: Sequence[Problem], engine: Engine, arm: str, by: Examiner) -> pl.DataFrame:
    """One most likely answer a problem: rows of `evaluations`."""
    return _answers(problems, replace(_flat(by, 1, None), greedy=True), engine, None, by, (arm, "greedy"))


def sample(problems: Sequence[Problem], engine: Engine, scorer: Scorer | None, by: Examiner) -> pl.DataFrame:
    """`settings.samples` answers a problem, each with its PPM score where there is a PPM."""
    return _answers(problems, _flat(by, by.settings.samples, scorer), engine, scorer, by, ("policy", "sampled"))


def against_sampling(problems: Sequence[Problem], engine: Engine, scorer: Scorer | None, by: Examiner) -> pl.DataFrame:
    """A small search on the first problems of the set, and plain sampling with as many tokens a problem (`matched`)."""
    some = sorted(problems, key=lambda problem: problem.problem_id)[: by.settings.mcts_problems]
    settings = rstar_math.Settings(
        candidates=by.settings.mcts_candidates,
        rollouts=by.settings.mcts_rollouts,
        max_step_tokens=by.settings.mcts_step_tokens,
        temperature=by.settings.temperature,
        ppm=scorer is not None,
    )
    method = RStarMath(settings, by.format, by.shots)
    trees = run_searches(some, method, by.seed, Services(engine, scorer, by.sandbox, None))
    given = [_searched(method, tree, "mcts") for tree in trees]
    given += [_searched(method, tree, "matched") for tree in trees if not tree.tokens]
    budgets = {tree.problem_id: tree.tokens for tree in trees if tree.tokens}
    asked = [problem for problem in some if problem.problem_id in budgets]
    matched = replace(_flat(by, by.settings.samples, scorer), budgets=budgets)
    sampled = _answers(asked, matched, engine, scorer, by, ("policy", "matched"))
    return in_order(_judged(given, by.judge), sampled)


def in_order(*found: pl.DataFrame) -> pl.DataFrame:
    """Rows of `evaluations`, put together."""
    return pl.concat(found).sort(tables.key_of("evaluations"))


def _flat(by: Examiner, samples: int, scorer: Scorer | None) -> Flat:
    """Whole responses, `samples` a problem."""
    longest, temperature = by.settings.max_tokens, by.settings.temperature
    settings = flat.Settings(samples=samples, max_tokens=longest, temperature=temperature, ppm=scorer is not None)
    return Flat(settings, by.format, by.shots)


def _answers(
    problems: Sequence[Problem],
    method: Flat,
    engine: Engine,
    scorer: Scorer | None,
    by: Examiner,
    kind: tuple[str, str],
) -> pl.DataFrame:
    trees = run_searches(problems, method, by.seed, Services(engine, scorer, by.sandbox, None))
    return _judged([given for tree in trees for given in _drawn(tree, kind)], by.judge)


def _drawn(tree: Tree, kind: tuple[str, str]) -> Iterator[Given]:
    """A row a sample, those included that the engine would not draw; one at least, for the question was asked."""
    children = tree.root.children
    for number, node in enumerate(children):
        status = "answer" if node.answer is not None else "cut" if node.draft.cut else "no_answer"
        yield Given(tree.problem_id, *kind, number, status, node.answer, node.draft.tokens, node.stats.prior)
    for number in range(len(children), len(children) + max(tree.refused, not children)):
        yield Given(tree.problem_id, *kind, number, "refused", None, 0, None)


def _searched(method: Method, tree: Tree, decoding: str) -> Given:
    answer = picked(tree, method)
    status = "answer" if answer is not None else "refused" if tree.ended == "refused" else "no_answer"
    return Given(tree.problem_id, "policy", decoding, 0, status, answer, tree.tokens, None)


def _judged(given: Sequence[Given], judge: Judge) -> pl.DataFrame:
    """Rows of `evaluations`. What is no answer is not right."""
    verdicts = asyncio.run(_verdicts([(each.problem_id, each.answer) for each in given], judge))
    rows = (
        (*each[: Given._fields.index("tokens")], verdict, each.tokens, each.ppm)
        for each, verdict in zip(given, verdicts, strict=True)
    )
    return tables.frame("evaluations", rows)


async def _verdicts(given: Sequence[tuple[str, str | None]], judge: Judge) -> list[Verdict]:
    """A verdict an answer, each problem's answers asked together; False for what is none."""
    answers: dict[str, list[str]] = defaultdict(list)
    for problem_id, answer in given:
        if answer is not None:
            answers[problem_id].append(answer)
    graded = await asyncio.gather(*(judge.grade(problem_id, texts) for problem_id, texts in answers.items()))
    found = {problem_id: iter(verdicts) for problem_id, verdicts in zip(answers, graded, strict=True)}
    return [False if answer is None else next(found[problem_id]) for problem_id, answer in given]


def soundness(
    verified: pl.DataFrame,
    problems: Sequence[Problem],
    fresh_of: Callable[[Problem], Sequence[tuple[Problem, Gold]]],
    format: Format,
    sandbox: Reruns,
    graders: Mapping[str, Grader] = BUILT_IN,
) -> pl.DataFrame:
    """Every verified program re-run on fresh instances of its question: the table `soundness`.

    fresh_of: new instances of a problem, none where nobody can ask the same anew: such programs are not in the table.

    A program that is right on its own question and wrong on others was right by chance: verified, and wrong.
    Raises `SandboxFailure` when the sandbox fails.
    """
    asked = {problem.problem_id: problem for problem in problems}
    fresh = {problem_id: fresh_of(asked[problem_id]) for problem_id in verified["problem_id"].unique()}
    rows = verified.select("trajectory_id", "problem_id", "response").rows()
    runs = [(name, problem, text) for name, asks, text in rows for problem, _ in fresh[asks]]
    executed = sandbox.extend_many([_last_step(format.setup(p.question), text, format) for _, p, text in runs])
    given = [(p.problem_id, _printed(found)) for (_, p, _), (found, _) in zip(runs, executed, strict=True)]
    judge = Judge(*_apart(one for found in fresh.values() for one in found), graders)
    counts = {name: {"fresh": 0, "right": 0, "untold": 0} for name, asks, _ in rows if fresh[asks]}
    for (name, _, _), verdict in zip(runs, asyncio.run(_verdicts(given, judge)), strict=True):
        counts[name]["fresh"] += 1
        counts[name]["right"] += verdict is True
        counts[name]["untold"] += verdict is None
    return tables.frame("soundness", ((name, *count.values()) for name, count in counts.items()))


def _apart(known: Iterable[tuple[Problem, Gold]]) -> tuple[list[Problem], list[Gold]]:
    pairs = list(known)
    return [problem for problem, _ in pairs], [gold for _, gold in pairs]


def _printed(execution: Execution) -> str | None:
    """What a program answers; None where it does not. Raises `SandboxFailure` when the sandbox failed."""
    if execution.status == "sandbox_error":
        raise SandboxFailure(f"the sandbox failed: {execution.error}")
    return execution.stdout.strip() or None if execution.status == "ok" else None


def _last_step(setup: str, response: str, format: Format) -> tuple[State, str]:
    """What runs before the step that answers, and that step: earlier steps may print, the answer is the last's."""
    *before, last = format.split(response)
    earlier = [format.code_of("".join(before))] if before else []
    return State.of(setup, *earlier), format.code_of(last)
