"""`trajectories`: one shard of a round's pool, searched. A killed run goes on from the shard's journal.

The shard of a problem is its place in the pool modulo the number of shards, so it depends on nothing else.
"""

from pathlib import Path

import polars as pl

from assets import plots
from assets.work import Made, Report, Work
from perseid.grading import Grader
from perseid.problems import Problem, toolbox_version
from perseid.search import Services, Update, method_named, run_searches, tables


def make(work: Work) -> Made:
    e, problems = work.experiment, work.read("problems", "problems")
    search, pool = e.search_of(work.round), pool_of(problems, work.round, int(work.shard or 0), e.shards)
    engine = work.machines.engine(work.model("policy", work.round - 1), e.engine)
    guided = search.ppm and work.round > 1
    scorer = work.machines.scorer(work.model("ppm", work.round - 1), e.engine) if guided else None
    with work.machines.sandbox() as sandbox:
        grader = grader_of(work.read("problems", "gold"))
        services = Services(engine, scorer, sandbox, grader, toolbox_version())
        settings = search.model_copy(update={"ppm": guided})
        report = reporting(work)
        trees = run_searches(pool, method_named(e.method), settings, e.seed, services, journal_of(work), report)
    found = tables(trees)
    for name, frame in found.items():
        work.table(name, frame)
    return summary(found, problems)


def pool_of(problems: pl.DataFrame, round_number: int, shard: int, shards: int) -> list[Problem]:
    pool = problems.filter((pl.col("split") == "pool") & (pl.col("round") == round_number)).sort("problem_id")
    return problems_of(pool.gather_every(shards, shard))


def problems_of(frame: pl.DataFrame) -> list[Problem]:
    return [Problem(**row) for row in frame.iter_rows(named=True)]


def grader_of(gold: pl.DataFrame) -> Grader:
    return Grader(dict(gold.select("problem_id", "answer").iter_rows()))


def journal_of(work: Work) -> Path:
    """Beside the shard's versions; kept until the next run of another key replaces it."""
    return work.store.root / work.key / ".journal"


def reporting(work: Work):  # type: ignore[no-untyped-def]
    def report(update: Update) -> None:
        work.reporter(Report(work.key, update.done, update.total, "problems", update.solved, update.tokens))

    return report


def summary(found: dict[str, pl.DataFrame], problems: pl.DataFrame) -> Made:
    searches = found["searches"].join(problems.select("problem_id", "family"), on="problem_id")
    families = searches.group_by("family").agg(pl.col("solved").mean().alias("share"), pl.len().alias("problems"))
    tokens = int(searches["tokens"].sum())
    return Made(
        metrics={
            "problems": searches.height,
            "solved": float(searches["solved"].mean() or 0.0),
            "rollouts": float(searches["rollouts"].sum()),
            "nodes": found["nodes"].height,
            "tokens": tokens,
        },
        pictures={"solved_by_family": plots.solved_by_family(families), "q_by_depth": plots.q_by_depth(found["nodes"])},
        tables={"solved by family": families.sort("share", "family")},
        tokens=tokens,
    )
