"""`trajectories`: one shard of a round's pool, searched. A killed run goes on from the shard's journal.

The shard of a problem is its place in the pool modulo the number of shards, so it depends on nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from assets import plots
from assets.journals import forgotten as after
from assets.journals import journals_of
from assets.ppm import scorer_of
from assets.problems import gold_of, problems_of
from assets.work import Made, Report, Work
from perseid.graders import BUILT_IN, Grader, Judge
from perseid.methods import method_of
from perseid.problems import Problem
from perseid.problems.facets import MANY, groups
from perseid.sandbox import AsyncSandbox
from perseid.search import Services, Update, drive
from perseid.search.rows import Rows

__all__ = ["VERSION", "after", "make"]

VERSION = 6  # samples that were cut, and endings without an answer, are counted


def make(work: Work) -> Made:
    e, problems = work.settings, work.read("pool", "problems")
    pool = pool_of(problems, int(work.shard or 0), e.shards)
    scorer = scorer_of(work, "guide")
    with (
        work.machines.sandbox(work.prelude) as sandbox,
        work.graders(sandbox) as graders,
        work.machines.engine(work.model("policy"), e.engine) as engine,
    ):
        judge = judge_of(problems, work.read("pool", "gold"), graders)
        runner, live = AsyncSandbox(sandbox), e.engine.live_trees
        services = Services(engine, scorer, runner, judge, live)
        section = e.method.model_copy(update={"ppm": scorer is not None})
        method, rows, counts = method_of(section, work.format, shots=shown_examples(work)), Rows(), Counts(work)
        drive(pool, method, e.seed, services, rows.add, journals_of(work), counts)
    found = rows.tables()
    for name, frame in found.items():
        work.table(name, frame)
    return summary(found, work.read("pool", "facets"), counts.last)


def shown_examples(work: Work) -> bool:
    """Whether the policy is that of round 0, which may know nothing of the format but what its prompt shows."""
    return 0 in work.inputs_of("policy")


def pool_of(problems: pl.DataFrame, shard: int, shards: int) -> list[Problem]:
    return problems_of(problems.sort("problem_id").gather_every(shards, shard))


def judge_of(problems: pl.DataFrame, gold: pl.DataFrame, graders: Mapping[str, Grader] = BUILT_IN) -> Judge:
    return Judge(problems_of(problems), gold_of(gold), graders)


@dataclass
class Counts:
    """Passes the progress of a search on, and keeps the last word."""

    work: Work
    last: Update = field(default_factory=Update)

    def __call__(self, update: Update) -> None:
        self.last = update
        self.work.reporter(Report(self.work.key, update.done, update.total, "problems", update.solved, update.tokens))


def summary(found: dict[str, pl.DataFrame], facets: pl.DataFrame, counts: Update) -> Made:
    searches = found["searches"]
    solved = solved_by(searches, facets)
    tokens = int(searches["tokens"].sum())
    return Made(
        metrics={
            "problems": searches.height,
            "solved": float(searches["solved"].sum()) / max(1, searches.height),
            "rollouts": float(searches["rollouts"].sum()),
            "nodes": found["nodes"].height,
            "tokens": tokens,
            "merged samples": float(searches["merged"].sum()),
            "refused samples": float(searches["refused"].sum()),
            "samples cut by length": float(searches["cut"].sum()),
            "endings without an answer": float(searches["unanswered"].sum()),
            "answers without a verdict": float(searches["untold"].sum()),
            "executions": counts.executions,
            "executions reused": counts.reused,
        },
        pictures={
            **{f"solved_by_{facet}": plots.solved(facet, shares) for facet, shares in solved.items()},
            "q_by_depth": plots.q_by_depth(found["nodes"]),
        },
        tables={
            **{f"solved by {facet}": shares for facet, shares in solved.items()},
            "ended": searches.group_by("ended").agg(pl.len().alias("problems")).sort("ended"),
        },
        tokens=tokens,
    )


def solved_by(searches: pl.DataFrame, facets: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """By facet that has some values: value, share of the problems solved, and how many they are; the hardest first."""
    found = {}
    for facet, rows in groups(facets.join(searches, on="problem_id"), MANY):
        shares = rows.group_by("value").agg(pl.col("solved").mean().alias("share"), pl.len().alias("problems"))
        found[facet] = shares.sort("share", "value")
    return found
