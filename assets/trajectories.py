"""`trajectories`: one shard of a round's pool, searched. A killed run goes on from the shard's journal.

The shard of a problem is its place in the pool modulo the number of shards, so it depends on nothing else.
Beside the shard's versions stands a folder of journals, one for each making (a code version, and versions of the
inputs, gold among them) that was begun. Publishing removes the journal of what is published and no other: who changes
an experiment and changes it back goes on where they were. One that nobody comes back to stays.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from assets import plots
from assets.problems import problems_of
from assets.tracking import Tracking
from assets.work import Made, Report, Work
from perseid.artifacts import Manifest, Store
from perseid.artifacts.store import JOURNALS
from perseid.grading import Grader
from perseid.problems import Gold, Problem
from perseid.sandbox import AsyncSandbox
from perseid.search import Services, Update, drive
from perseid.search.journal import digest_of
from perseid.search.rows import Rows

VERSION = 5  # a version is what was read: the pool of its round, the grader, the kernel


def make(work: Work) -> Made:
    e, problems = work.settings, work.read("pool", "problems")
    search, pool = e.search, pool_of(problems, int(work.shard or 0), e.shards)
    guided = search.ppm and work.round > 1
    scorer = work.machines.scorer(work.model("ppm", work.round - 1), e.engine) if guided else None
    policy = work.model("policy", work.round - 1)
    with work.machines.engine(policy, e.engine) as engine, work.machines.sandbox() as sandbox:
        grader = grader_of(work.read("pool", "gold"))
        runner, live = AsyncSandbox(sandbox), e.engine.live_trees
        services = Services(engine, scorer, runner, grader, live)
        settings, rows = search.model_copy(update={"ppm": guided}), Rows()
        counts = Counts(work)
        drive(pool, work.method, settings, e.seed, services, rows.add, journals_of(work), counts)
    found = rows.tables()
    for name, frame in found.items():
        work.table(name, frame)
    return summary(found, problems, counts.last)


def after(work: Work, manifest: Manifest, made: Made, tracking: Tracking) -> Mapping[str, str]:
    """The shard is published: nothing goes on from its journal any more."""
    forget_journals(work.store, manifest)
    return {}


def pool_of(problems: pl.DataFrame, shard: int, shards: int) -> list[Problem]:
    return problems_of(problems.sort("problem_id").gather_every(shards, shard))


def grader_of(gold: pl.DataFrame) -> Grader:
    return Grader(Gold(**row) for row in gold.iter_rows(named=True))


def journals_of(work: Work) -> Path:
    """The folder for what is made of these inputs by this code; inside, the driver names a journal by its run's key."""
    versions = {key: manifest.version for key, manifest in work.inputs.items()}
    found = journals(work.store, work.key, work.plan.node.code_version, versions)
    if found.parent.is_file():  # of an earlier release, which had one for all
        found.parent.unlink()
    return found


def forget_journals(store: Store, made: Manifest) -> None:
    """What they were kept for is published: nothing goes on from them any more."""
    kept = journals(store, made.key, made.code_version, made.inputs)
    shutil.rmtree(kept, ignore_errors=True)
    with suppress(OSError):  # others are begun
        kept.parent.rmdir()


def journals(store: Store, key: str, code_version: str, inputs: Mapping[str, str]) -> Path:
    making = digest_of([code_version, *(f"{name} {version}" for name, version in sorted(inputs.items()))])
    return store.place(key) / JOURNALS / making


@dataclass
class Counts:
    """Passes the progress of a search on, and keeps the last word."""

    work: Work
    last: Update = field(default_factory=Update)

    def __call__(self, update: Update) -> None:
        self.last = update
        self.work.reporter(Report(self.work.key, update.done, update.total, "problems", update.solved, update.tokens))


def summary(found: dict[str, pl.DataFrame], problems: pl.DataFrame, counts: Update) -> Made:
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
            "merged samples": float(searches["merged"].sum()),
            "refused samples": float(searches["refused"].sum()),
            "answers without a verdict": float(searches["untold"].sum()),
            "executions": counts.executions,
            "executions reused": counts.reused,
        },
        pictures={"solved_by_family": plots.solved_by_family(families), "q_by_depth": plots.q_by_depth(found["nodes"])},
        tables={
            "solved by family": families.sort("share", "family"),
            "ended": searches.group_by("ended").agg(pl.len().alias("problems")).sort("ended"),
        },
        tokens=tokens,
    )
