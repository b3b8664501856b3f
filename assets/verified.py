"""`verified`: the round's right trajectories, re-executed on CPython, the best few of each problem.

Reads every shard and records which version of each: Dagster itself keeps one event of a partitioned input.
"""

import polars as pl

from assets.work import Made, Work
from perseid.selection.verified import verify
from perseid.tables import frame

TREES = ("texts", "trajectories")
VERSION = 2  # a version is what was read: the pool of its round, and no seed


def make(work: Work) -> Made:
    problems, found = work.read("pool", "problems"), {name: work.read("trees", name) for name in TREES}
    with work.machines.sandbox() as sandbox:
        kept, rejected = verify(found, problems, work.format, sandbox, work.settings.selection.top)
    versions = [(shard, manifest.version) for shard, manifest in work.shards("trees").items()]
    work.table("verified", kept)
    work.table("rejected", rejected)
    work.table("shards", frame("shards", versions))
    by_family = kept.group_by("family").agg(
        pl.len().alias("trajectories"), pl.col("problem_id").n_unique().alias("problems")
    )
    reasons = rejected.group_by("reason").len("trajectories").sort("reason")
    return Made(
        metrics={"trajectories": kept.height, "rejected": rejected.height},
        tables={"by family": by_family.sort("family"), "rejected": reasons, "a few": kept.head(5)},
    )
