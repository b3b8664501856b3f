"""Evaluation on the fixed held-out problems: greedy, k samples, a small search, and sampling at the search's tokens.

Every way of answering runs on the search kernel without grading, so nothing that answers can see gold; only afterwards
does the grader say which answers are right. Intervals are percentile bootstraps over problems (`perseid.metrics`); the
difference to another arm or round is paired. Search and sampling pick their answer alike: by the PPM where there is
one, else by majority. Not covered: the policy has seen each family's kind of question, only the questions are new;
what parts of the held-out set are further away is reported apart (`part`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import polars as pl

from perseid import experiment, metrics
from perseid.engine import Engine, Scorer
from perseid.grading import Grader
from perseid.methods.rejection import Rejection
from perseid.methods.rstar_math import END_OF_STEP
from perseid.problems import Problem, fresh_instances
from perseid.sandbox import Execution, State
from perseid.search import Method, SandboxFailure, Services, Tree, picked, run_searches
from perseid.search.services import Judge, Runner

EVALUATIONS: Final = {
    "problem_id": pl.String,
    "arm": pl.String,
    "decoding": pl.String,
    "sample": pl.Int64,
    "answer": pl.String,
    "correct": pl.Boolean,
    "tokens": pl.Int64,
    "ppm": pl.Float64,
}
METRICS: Final = {
    "arm": pl.String,
    "metric": pl.String,
    "part": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
}
MCTS_TOKENS: Final = "sampling_at_mcts_tokens"
Score = Callable[[pl.DataFrame], float]  # of one problem's rows, in order of `sample`


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
    return _answers(problems, Rejection(), settings, engine, scorer, by, ("policy", "sample"))


def against_sampling(problems: Sequence[Problem], engine: Engine, scorer: Scorer | None, by: Examiner) -> pl.DataFrame:
    """A small search on the first problems of the set, and plain sampling with as many tokens a problem."""
    some = sorted(problems, key=lambda problem: problem.problem_id)[: by.settings.mcts_problems]
    settings = experiment.Search(
        candidates=by.settings.mcts_candidates,
        rollouts=by.settings.mcts_rollouts,
        temperature=by.settings.temperature,
        ppm=scorer is not None,
    )
    trees = run_searches(some, by.method, settings, by.seed, Services(engine, scorer, by.sandbox, None))
    rows = [_row(by, tree, ("policy", "mcts"), 0, picked(tree, by.method), tree.tokens, None) for tree in trees]
    budgets = {tree.problem_id: tree.tokens for tree in trees}
    rejection = Rejection(budgets=budgets)
    sampled = _answers(some, rejection, _flat(by, by.settings.samples), engine, scorer, by, ("policy", MCTS_TOKENS))
    return pl.concat([_frame(rows), sampled])


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
    rows = [
        _row(by, tree, kind, number, node.answer, node.tokens, node.stats.prior)
        for tree in trees
        for number, node in enumerate(tree.root.children)
    ]
    return _frame(rows)


def _row(
    by: Examiner, tree: Tree, kind: tuple[str, str], number: int, answer: str | None, tokens: int, ppm: float | None
) -> tuple[Any, ...]:
    correct = answer is not None and by.grader.grade(tree.problem_id, [answer])[0]
    return (tree.problem_id, *kind, number, answer, correct, tokens, ppm)


def _frame(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=EVALUATIONS, orient="row").sort("problem_id", "arm", "decoding", "sample")


def soundness(
    verified: pl.DataFrame,
    problems: Sequence[Problem],
    method: Method,
    sandbox: Reruns,
    settings: experiment.Evaluation,
    seed: int,
) -> pl.DataFrame:
    """Every verified program re-run on fresh instances of its question: columns trajectory_id, fresh, right.

    A program that is right on its own question and wrong on others was right by chance: verified, and wrong.
    """
    asked = {problem.problem_id: problem for problem in problems}
    questions = frozenset(problem.question for problem in problems)
    wanted = verified["problem_id"].unique()
    fresh = {p: fresh_instances(asked[p], settings.fresh_instances, seed, questions) for p in wanted}
    rows = verified.select("trajectory_id", "problem_id", "response").rows()
    runs = [(name, method.setup(p.question), gold, text) for name, asks, text in rows for p, gold in fresh[asks]]
    executed = sandbox.extend_many([_last_step(setup, text, method) for _, setup, _, text in runs])
    right: dict[str, int] = {name: 0 for name, _, _ in rows}
    for (name, _, gold, _), (execution, _) in zip(runs, executed, strict=True):
        if execution.status == "sandbox_error":
            raise SandboxFailure(f"the sandbox failed: {execution.error}")
        printed = execution.stdout.strip()
        judged = Grader([gold]).grade(gold.problem_id, [printed])
        right[name] += execution.status == "ok" and bool(printed) and judged[0] is True
    found = [(name, settings.fresh_instances, count) for name, count in right.items()]
    schema = {"trajectory_id": pl.String, "fresh": pl.Int64, "right": pl.Int64}
    return pl.DataFrame(found, schema=schema, orient="row").sort("trajectory_id")


def _last_step(setup: str, response: str, method: Method) -> tuple[State, str]:
    """What runs before the step that answers, and that step: earlier steps may print, the answer is the last's."""
    before, _, last = response.rpartition(END_OF_STEP)
    return State.of(setup, *([method.code_of(before)] if before else [])), method.code_of(last)


@dataclass(frozen=True)
class Evidence:
    """What `measure` reads beside the round's own answers; each may be missing (round 0 has none)."""

    previous: pl.DataFrame | None = None  # the `evaluations` of the round before
    pair_scores: pl.DataFrame | None = None
    soundness: pl.DataFrame | None = None


def measure(
    evaluations: pl.DataFrame, problems: pl.DataFrame, settings: experiment.Evaluation, seed: int, evidence: Evidence
) -> pl.DataFrame:
    """The table `metrics`: each metric by arm and part of the held-out set, with its interval and n."""
    rows = evaluations.join(problems.select("problem_id", "part"), on="problem_id", how="left")
    before = evidence.previous
    k = settings.samples
    found: list[tuple[Any, ...]] = []
    for part in ("all", "seen", "new_wording", "new_composition"):
        mine = rows if part == "all" else rows.filter(pl.col("part") == part)
        each = _each_problem(mine, k)
        values = {key: np.array(list(scores.values())) for key, scores in each.items()}
        values |= _differences(each, _each_problem(_of(before, mine), k) if before is not None else {})
        found += [(*key, part, *_estimate(scores, settings, seed)) for key, scores in values.items() if scores.size]
    found += [
        ("policy", name, "all", *_estimate(scores, settings, seed)) for name, scores in _others(evidence) if scores.size
    ]
    return pl.DataFrame(found, schema=METRICS, orient="row").sort("arm", "metric", "part")


def _of(before: pl.DataFrame, mine: pl.DataFrame) -> pl.DataFrame:
    return before.join(mine.select("problem_id").unique(), on="problem_id", how="semi")


def _each_problem(rows: pl.DataFrame, k: int) -> dict[tuple[str, str], dict[str, float]]:
    """(arm, metric) -> problem_id -> score."""
    policy = rows.filter(pl.col("arm") == "policy")
    control = rows.filter(pl.col("arm") == "control")
    scored = bool(policy.filter(pl.col("decoding") == "sample")["ppm"].is_not_null().any())
    pick: Score = _best if scored else _vote
    wanted: list[tuple[pl.DataFrame, str, str, str, Score]] = [
        (policy, "policy", "pass@1", "greedy", _right),
        (control, "control", "pass@1", "greedy", _right),
        (
            policy,
            "policy",
            f"pass@{k}",
            "sample",
            lambda group: metrics.pass_at_k(group.height, int(group["correct"].sum()), k),
        ),
        (policy, "policy", f"maj@{k}", "sample", _vote),
        (policy, "policy", "mcts", "mcts", _right),
        (policy, "policy", MCTS_TOKENS, MCTS_TOKENS, pick),
        *[(policy, "policy", f"tokens@{name}", name, _tokens) for name in ("greedy", "sample", "mcts", MCTS_TOKENS)],
    ]
    if scored:
        wanted.append((policy, "policy", f"ppm_best@{k}", "sample", _best))
    return {(arm, metric): _scores(frame, decoding, score) for frame, arm, metric, decoding, score in wanted}


def _scores(rows: pl.DataFrame, decoding: str, score: Score) -> dict[str, float]:
    chosen = rows.filter(pl.col("decoding") == decoding).sort("problem_id", "sample")
    return {str(name): score(group) for (name,), group in chosen.group_by(["problem_id"], maintain_order=True)}


def _right(group: pl.DataFrame) -> float:
    return float(group["correct"][0])


def _vote(group: pl.DataFrame) -> float:
    return metrics.majority(group["answer"].to_list(), group["correct"].to_list())


def _best(group: pl.DataFrame) -> float:
    return metrics.best_of(group["ppm"].to_list(), group["correct"].to_list(), group["answer"].to_list())


def _tokens(group: pl.DataFrame) -> float:
    return float(group["tokens"].sum())


def _differences(
    now: dict[tuple[str, str], dict[str, float]], before: dict[tuple[str, str], dict[str, float]]
) -> dict[tuple[str, str], np.ndarray[Any, np.dtype[np.float64]]]:
    """Paired differences of greedy pass@1 over the problems that both sides answered."""
    mine = now.get(("policy", "pass@1"), {})
    others = {"delta_pass@1": before.get(("policy", "pass@1"), {}), "delta_control": now.get(("control", "pass@1"), {})}
    return {
        ("policy", name): np.array([score - other[problem] for problem, score in mine.items() if problem in other])
        for name, other in others.items()
    }


def _others(evidence: Evidence) -> list[tuple[str, np.ndarray[Any, np.dtype[np.float64]]]]:
    """Metrics over other things than held-out problems: held-out pairs, verified trajectories."""
    found = []
    if evidence.pair_scores is not None:
        held_out = evidence.pair_scores.filter(pl.col("split") == "held_out")
        found.append(
            ("ppm_pair_accuracy", (held_out["score_chosen"] > held_out["score_rejected"]).cast(float).to_numpy())
        )
    if evidence.soundness is not None:
        wrong = evidence.soundness["right"] < evidence.soundness["fresh"]
        found.append(("verified_but_wrong", wrong.cast(float).to_numpy()))
    return found


def _estimate(
    scores: np.ndarray[Any, np.dtype[np.float64]], settings: experiment.Evaluation, seed: int
) -> tuple[float, float, float, int]:
    found = metrics.bootstrap(scores, seed=seed, samples=settings.bootstrap_samples, confidence=settings.confidence)
    return found.value, found.low, found.high, found.n
