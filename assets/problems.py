"""`problems`: what the teacher demonstrates, the held-out questions, and the answers apart from them.

The questions that rounds search are apart, a pool a round (`assets.pool`).
"""

from dataclasses import asdict

import polars as pl

from assets.work import Made, Work
from perseid.errors import UserError
from perseid.formats import TOOLS
from perseid.problems import Demonstration, Problem, ProblemSet, build
from perseid.tables import frame

VERSION = 3  # the pools went out of it


def make(work: Work) -> Made:
    e = work.settings
    built = build(e.problems, e.seed)
    problems, demonstrations = problem_frame(built), demonstration_frame(built.demonstrations)
    refuse_overlaps(work, problems, demonstrations)
    work.table("problems", problems)
    work.table("gold", gold_frame(built))
    work.table("demonstrations", demonstrations)
    sizes = problems.group_by("split", "part").len("problems").sort("split", "part")
    kinds = demonstrations.group_by("kind").len("examples").sort("kind")
    return Made(metrics={"problems": problems.height}, tables={"problems": sizes, "demonstrations": kinds})


def problem_frame(built: ProblemSet) -> pl.DataFrame:
    return pl.DataFrame([asdict(problem) for problem in built.problems]).sort("problem_id")


def gold_frame(built: ProblemSet) -> pl.DataFrame:
    return pl.DataFrame([asdict(gold) for gold in built.gold]).sort("problem_id")


def problems_of(frame: pl.DataFrame) -> list[Problem]:
    return [Problem(**row) for row in frame.iter_rows(named=True)]


def demonstration_frame(demonstrations: list[Demonstration]) -> pl.DataFrame:
    rows = [
        (shown.example_id, shown.kind, shown.problem_id, shown.question, TOOLS.write(shown.steps))
        for shown in demonstrations
    ]
    return frame("demonstrations", rows)


def refuse_overlaps(work: Work, problems: pl.DataFrame, demonstrations: pl.DataFrame) -> None:
    """Raises `UserError` when a question stands in two places; `problems` are all that are known so far."""
    if overlaps := shared_questions(problems, demonstrations).height:
        raise UserError(work.key, "problems", f"expected disjoint splits, found {overlaps} questions in two of them")


def shared_questions(problems: pl.DataFrame, demonstrations: pl.DataFrame) -> pl.DataFrame:
    """Questions that stand in more than one of: what is demonstrated, each round's pool, the held-out set.

    Columns question, splits. Whether a held-out part keeps its promise (a wording or a composition that stands in
    neither of the others) is `unkept_promises`.
    """
    shown = demonstrations.select("question", split=pl.lit("demonstration"))
    pool = pl.format("pool of round {}", "round")
    placed = problems.select("question", split=pl.when(split="pool").then(pool).otherwise("split"))
    asked = pl.concat([placed, shown]).unique()
    splits = asked.group_by("question").agg(pl.col("split").sort().str.join(", ").alias("splits"), pl.len())
    return splits.filter(pl.col("len") > 1).select("question", "splits").sort("question")


def unkept_promises(problems: pl.DataFrame) -> pl.DataFrame:
    """Held-out problems of a new wording (or composition) whose wording (or composition) training sees as well."""
    trained = problems.filter(pl.col("split") != "held_out")
    broken = [
        problems.filter((pl.col("split") == "held_out") & (pl.col("part") == part)).join(trained, on=keys, how="semi")
        for part, keys in (("new_wording", ["family", "wording"]), ("new_composition", ["family", "composition"]))
    ]
    return pl.concat(broken).select("problem_id", "family", "composition", "wording", "part").sort("problem_id")
