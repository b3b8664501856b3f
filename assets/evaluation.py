"""`evaluation`: the fixed held-out problems, answered by the round's policy and its control, and what that proves.

The rounds before are inputs too: the round just before for the paired difference, all of them for the plot.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from assets import plots
from assets.gate import judged as after
from assets.ppm import scorer_of
from assets.problems import every, facets_of, problems_of
from assets.registry import headline
from assets.trajectories import judge_of, shown_examples
from assets.work import Made, Work
from perseid.errors import UserError
from perseid.evaluation import answers
from perseid.evaluation.measure import Evidence, measure, unknown_facet
from perseid.graders import Grader
from perseid.problems import Gold, Problem
from perseid.problems.facets import ALL
from perseid.sandbox import AsyncSandbox

__all__ = ["VERSION", "after", "make"]

VERSION = 6  # a text that was cut is told from one without an answer
KINDS = {"pytorch"}
SHOWN = ("greedy_pass@1", "greedy_delta_previous", "greedy_delta_control")


def make(work: Work) -> Made:
    e, problems, facets = work.settings, work.read("problems", "problems"), work.read("problems", "facets")
    held_out = work.read("problems", "pools").filter(split="held_out")
    known = facets.join(held_out, on="problem_id", how="semi")
    if mistake := unknown_facet(e.evaluation, known):
        raise UserError(work.key, *mistake)
    with work.machines.sandbox(work.prelude) as sandbox, work.graders(sandbox) as graders:
        judge = judge_of(problems, work.read("problems", "gold"), graders)
        box, shots = AsyncSandbox(sandbox), shown_examples(work)
        by = answers.Examiner(work.format, e.evaluation, e.seed, box, judge, shots)
        given = answered(work, problems.join(held_out, on="problem_id", how="semi"), by)
        sound = sound_of(work, sandbox, graders) if work.given("verified") else None
    scores = work.read("ppm", "pair_scores") if work.given("ppm") else None
    measured = measure(given, known, e.evaluation, e.seed, Evidence(previous(work), scores, sound))
    for name, table in {"evaluations": given, "metrics": measured, "soundness": sound}.items():
        if table is not None:
            work.table(name, table)
    return summary(work, measured, int(given["tokens"].sum()))


def sound_of(work: Work, sandbox: answers.Reruns, graders: Mapping[str, Grader]) -> pl.DataFrame:
    """What was verified in this round, on fresh instances."""
    known = problems_of(every(work, "problems"))
    verified, fresh = work.read("verified", "verified"), fresh_instances(work, known)
    return answers.soundness(verified, known, fresh, work.format, sandbox, graders)


def fresh_instances(work: Work, known: Sequence[Problem]) -> Callable[[Problem], list[tuple[Problem, Gold]]]:
    """New instances of a problem, none where its source cannot ask the same anew."""
    able, facets, n = work.redraws, facets_of(every(work, "facets")), work.settings.evaluation.fresh_instances
    questions = frozenset(problem.question for problem in known)

    def fresh(problem: Problem) -> list[tuple[Problem, Gold]]:
        source = able.get(problem.source)
        return source.fresh(problem, facets.get(problem.problem_id, {}), n, questions) if source else []

    return fresh


def previous(work: Work) -> pl.DataFrame | None:
    """The answers of the round before, None in the first."""
    *_, last = work.inputs_of("earlier").values() if work.given("earlier") else [None]
    return None if last is None else work.store.read(last, "evaluations")


def answered(work: Work, problems: pl.DataFrame, by: answers.Examiner) -> pl.DataFrame:
    """Every way of answering, by the policy; greedily by the control."""
    e, held_out = work.settings, problems_of(problems)
    scorer = scorer_of(work, "ppm")
    with work.machines.engine(work.model("policy"), e.engine) as engine:
        found = [
            answers.greedy(held_out, engine, "policy", by),
            answers.sample(held_out, engine, scorer, by),
            answers.against_sampling(held_out, engine, scorer, by),
        ]
    if work.given("control"):
        with work.machines.engine(work.model("control"), e.engine) as control:
            found.append(answers.greedy(held_out, control, "control", replace(by, shots=False)))
    return answers.in_order(*found)


def summary(work: Work, measured: pl.DataFrame, tokens: int) -> Made:
    whole = measured.filter(pl.col("facet") == ALL)
    before = work.inputs_of("earlier") if work.given("earlier") else {}
    rounds = {n: work.store.read(manifest, "metrics") for n, manifest in before.items()}
    rounds[work.round] = measured
    return Made(
        metrics=headline(measured),
        pictures={"accuracy": accuracy(rounds)},
        tables={
            "metrics": whole.drop("facet", "part"),
            "by facet": measured.filter((pl.col("facet") != ALL) & pl.col("metric").is_in(SHOWN)),
        },
        tokens=tokens,
    )


def accuracy(rounds: dict[int, pl.DataFrame]) -> bytes:
    """The plot of greedy pass@1 by round. The control starts from the same round 0."""
    points: dict[str, list[plots.Point]] = {"policy": [], "control": []}
    for number, measured in sorted(rounds.items()):
        scores = measured.filter((pl.col("metric") == "greedy_pass@1") & (pl.col("facet") == ALL))
        for arm, value, low, high in scores.select("arm", "value", "low", "high").iter_rows():
            points[arm].append(plots.Point(number, value, low, high))
    if points["control"]:
        points["control"] = [p for p in points["policy"] if p.round == 0] + points["control"]
    return plots.accuracy(points["policy"], points["control"])
