"""`evaluation`: the fixed held-out problems, answered by the round's policy and its control, and what that proves.

The rounds before are inputs too: the round just before for the paired difference, all of them for the plot.
"""

import polars as pl

from assets import plots
from assets.gate import judged as after
from assets.ppm import scorer_of
from assets.problems import problems_of
from assets.trajectories import judge_of
from assets.work import Made, Work
from perseid.evaluation import answers
from perseid.evaluation.measure import Evidence, measure
from perseid.sandbox import AsyncSandbox

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a version is what was read: nothing of the search's settings, fresh instances from round 1 on
KINDS = {"pytorch"}
SHOWN = ("greedy_pass@1", "greedy_delta_previous", "greedy_delta_control")


def make(work: Work) -> Made:
    e, problems = work.settings, asked(work)
    with work.machines.sandbox() as sandbox:
        judge = judge_of(problems, work.read("problems", "gold"))
        by = answers.Examiner(work.method, e.evaluation, e.seed, AsyncSandbox(sandbox), judge)
        given = answered(work, problems, by)
        sound = None
        if work.given("verified"):
            verified = work.read("verified", "verified")
            sound = answers.soundness(verified, problems_of(problems), work.format, sandbox, e.evaluation, e.seed)
            work.table("soundness", sound)
    evidence = Evidence(
        previous=previous(work),
        pair_scores=work.read("ppm", "pair_scores") if work.given("ppm") else None,
        soundness=sound,
    )
    measured = measure(given, problems, e.evaluation, e.seed, evidence)
    work.table("evaluations", given)
    work.table("metrics", measured)
    return summary(work, measured, int(given["tokens"].sum()))


def asked(work: Work) -> pl.DataFrame:
    """All problems that are known: the held-out set, and what rounds searched."""
    known = [work.read(role, "problems") for role in ("problems", "asked") if work.given(role)]
    return pl.concat(known)


def previous(work: Work) -> pl.DataFrame | None:
    """The answers of the round before, None in the first."""
    *_, last = work.inputs_of("earlier").values() if work.given("earlier") else [None]
    return None if last is None else work.store.read(last, "evaluations")


def answered(work: Work, problems: pl.DataFrame, by: answers.Examiner) -> pl.DataFrame:
    """Every way of answering, by the policy; greedily by the control."""
    e, held_out = work.settings, problems_of(problems.filter(pl.col("split") == "held_out"))
    scorer = scorer_of(work, "ppm")
    with work.machines.engine(work.model("policy"), e.engine) as engine:
        found = [
            answers.greedy(held_out, engine, "policy", by),
            answers.sample(held_out, engine, scorer, by),
            answers.against_sampling(held_out, engine, scorer, by),
        ]
    if work.given("control"):
        with work.machines.engine(work.model("control"), e.engine) as control:
            found.append(answers.greedy(held_out, control, "control", by))
    return answers.in_order(*found)


def summary(work: Work, measured: pl.DataFrame, tokens: int) -> Made:
    whole = measured.filter(pl.col("part") == "all")
    named = {(arm, metric): value for arm, metric, value in whole.select("arm", "metric", "value").iter_rows()}
    metrics = {metric if arm == "policy" else f"{arm}_{metric}": value for (arm, metric), value in named.items()}
    before = work.inputs_of("earlier") if work.given("earlier") else {}
    rounds = {n: work.store.read(manifest, "metrics") for n, manifest in before.items()}
    rounds[work.round] = measured
    return Made(
        metrics=metrics,
        pictures={"accuracy": accuracy(rounds)},
        tables={
            "metrics": whole.drop("part"),
            "by part": measured.filter((pl.col("part") != "all") & pl.col("metric").is_in(SHOWN)),
        },
        tokens=tokens,
    )


def accuracy(rounds: dict[int, pl.DataFrame]) -> bytes:
    """The plot of greedy pass@1 by round. The control starts from the same round 0."""
    points: dict[str, list[plots.Point]] = {"policy": [], "control": []}
    for number, measured in sorted(rounds.items()):
        scores = measured.filter((pl.col("metric") == "greedy_pass@1") & (pl.col("part") == "all"))
        for arm, value, low, high in scores.select("arm", "value", "low", "high").iter_rows():
            points[arm].append(plots.Point(number, value, low, high))
    if points["control"]:
        points["control"] = [p for p in points["policy"] if p.round == 0] + points["control"]
    return plots.accuracy(points["policy"], points["control"])
