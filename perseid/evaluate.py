"""Answers to the fixed held-out problems: greedy, k samples, a small search, and sampling at the search's tokens.

Every way of answering runs on the search kernel without grading, so nothing that answers can see gold; only afterwards
does the grader say which answers are right. Every question that is asked has its rows, whatever came of it: one that
the engine refuses (it is longer than the context) is not answered, and so is not answered right. What the rows prove
is `perseid.measure`. Not covered: the policy has seen each family's kind of question, only the questions are new;
what parts of the held-out set are further away is reported apart (`part`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from perseid import experiment, tables
from perseid.engine import Engine, Scorer
from perseid.grading import Grader
from perseid.methods.rejection import Rejection
from perseid.methods.rstar_math import END_OF_STEP
from perseid.problems import Problem, fresh_instances
from perseid.sandbox import Execution, State
from perseid.search import Method, SandboxFailure, Services, Tree, picked, run_searches
from perseid.search.services import Judge, Runner

Row = tuple[Any, ...]  # of the table `evaluations`


class Reruns(Protocol):
    """Runs programs again. `perseid.sandbox.Sandbox` is one."""

    def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]: ...


@dataclass(frozen=True)
class Examiner:
    """What answers are made and judged with, whichever policy is asked."""

    method: Method
    settings: experiment.Evaluation
    seed: int
    sandbox: Runner
    grader: Judge


def greedy(problems: Sequence[Problem], engine: Engine, arm: str, by: Examiner) -> pl.DataFrame:
    """One most likely answer a problem: rows of `evaluations`."""
    return _answers(problems, Rejection(temperature=0.0), _flat(by, 1), engine, None, by, (arm, "greedy"))


def sample(problems: Sequence[Problem], engine: Engine, scorer: Scorer | None, by: Examiner) -> pl.DataFrame:
    """`settings.samples` answers a problem, each with its PPM score where there is a PPM."""
    settings = _flat(by, by.settings.samples)
    return _answers(problems, Rejection(), settings, engine, scorer, by, ("policy", "sampled"))


def against_sampling(problems: Sequence[Problem], engine: Engine, scorer: Scorer | None, by: Examiner) -> pl.DataFrame:
    """A small search on the first problems of the set, and plain sampling with as many tokens a problem (`matched`)."""
    some = sorted(problems, key=lambda problem: problem.problem_id)[: by.settings.mcts_problems]
    settings = experiment.Search(
        candidates=by.settings.mcts_candidates,
        rollouts=by.settings.mcts_rollouts,
        temperature=by.settings.temperature,
        ppm=scorer is not None,
    )
    trees = run_searches(some, by.method, settings, by.seed, Services(engine, scorer, by.sandbox, None))
    rows = [_searched(by, tree, "mcts") for tree in trees]
    rows += [_searched(by, tree, "matched") for tree in trees if not tree.tokens]
    budgets = {tree.problem_id: tree.tokens for tree in trees if tree.tokens}
    asked, flat = [p for p in some if p.problem_id in budgets], _flat(by, by.settings.samples)
    sampled = _answers(asked, Rejection(budgets=budgets), flat, engine, scorer, by, ("policy", "matched"))
    return in_order(tables.frame("evaluations", rows), sampled)


def in_order(*found: pl.DataFrame) -> pl.DataFrame:
    """Rows of `evaluations`, put together."""
    return pl.concat(found).sort(tables.key_of("evaluations"))


def _flat(by: Examiner, samples: int) -> experiment.Search:
    """Settings under which rejection sampling draws whole responses: one rollout of `samples` candidates."""
    return experiment.Search(
        candidates=samples,
        rollouts=1,
        max_depth=1,
        max_step_tokens=by.settings.max_tokens,
        temperature=by.settings.temperature,
    )


def _answers(
    problems: Sequence[Problem],
    method: Rejection,
    settings: experiment.Search,
    engine: Engine,
    scorer: Scorer | None,
    by: Examiner,
    kind: tuple[str, str],
) -> pl.DataFrame:
    settings = settings.model_copy(update={"ppm": scorer is not None})
    trees = run_searches(problems, method, settings, by.seed, Services(engine, scorer, by.sandbox, None))
    return tables.frame("evaluations", (row for tree in trees for row in _drawn(by, tree, kind)))


def _drawn(by: Examiner, tree: Tree, kind: tuple[str, str]) -> Iterator[Row]:
    """A row a sample, those included that the engine would not draw; one at least, for the question was asked."""
    children = tree.root.children
    for number, node in enumerate(children):
        status = "no_answer" if node.answer is None else "answer"
        yield _row(by, tree.problem_id, kind, (number, status, node.answer, node.tokens, node.stats.prior))
    for number in range(len(children), len(children) + max(tree.refused, not children)):
        yield _row(by, tree.problem_id, kind, (number, "refused", None, 0, None))


def _searched(by: Examiner, tree: Tree, decoding: str) -> Row:
    answer = picked(tree, by.method)
    status = "answer" if answer is not None else "refused" if tree.ended == "refused" else "no_answer"
    return _row(by, tree.problem_id, ("policy", decoding), (0, status, answer, tree.tokens, None))


def _row(
    by: Examiner, problem_id: str, kind: tuple[str, str], found: tuple[int, str, str | None, int, float | None]
) -> Row:
    number, status, answer, tokens, ppm = found
    correct = by.grader.grade(problem_id, [answer])[0] if answer is not None else False
    return (problem_id, *kind, number, status, answer, correct, tokens, ppm)


def soundness(
    verified: pl.DataFrame,
    problems: Sequence[Problem],
    method: Method,
    sandbox: Reruns,
    settings: experiment.Evaluation,
    seed: int,
) -> pl.DataFrame:
    """Every verified program re-run on fresh instances of its question: the table `soundness`.

    A program that is right on its own question and wrong on others was right by chance: verified, and wrong.
    Raises `SandboxFailure` when the sandbox fails.
    """
    asked = {problem.problem_id: problem for problem in problems}
    questions = frozenset(problem.question for problem in problems)
    wanted = verified["problem_id"].unique()
    fresh = {p: fresh_instances(asked[p], settings.fresh_instances, seed, questions) for p in wanted}
    rows = verified.select("trajectory_id", "problem_id", "response").rows()
    runs = [(name, method.setup(p.question), gold, text) for name, asks, text in rows for p, gold in fresh[asks]]
    executed = sandbox.extend_many([_last_step(setup, text, method) for _, setup, _, text in runs])
    counts = {name: {"fresh": 0, "right": 0, "untold": 0} for name, _, _ in rows}
    for (name, _, gold, _), (execution, _) in zip(runs, executed, strict=True):
        if execution.status == "sandbox_error":
            raise SandboxFailure(f"the sandbox failed: {execution.error}")
        printed = execution.stdout.strip()
        answered = execution.status == "ok" and bool(printed)
        verdict = Grader([gold]).grade(gold.problem_id, [printed])[0] if answered else False
        counts[name]["fresh"] += 1
        counts[name]["right"] += verdict is True
        counts[name]["untold"] += verdict is None
    return tables.frame("soundness", ((name, *count.values()) for name, count in counts.items()))


def _last_step(setup: str, response: str, method: Method) -> tuple[State, str]:
    """What runs before the step that answers, and that step: earlier steps may print, the answer is the last's."""
    before, _, last = response.rpartition(END_OF_STEP)
    return State.of(setup, *([method.code_of(before)] if before else [])), method.code_of(last)
