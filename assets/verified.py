"""`verified`: the round's right trajectories, re-executed on CPython, the best few of each problem.

Reads every shard and records which version of each: Dagster itself keeps one event of a partitioned input.
"""

from assets.work import Made, Work
from perseid.problems.facets import sizes
from perseid.selection.verified import verify
from perseid.tables import frame

VERSION = 3  # what is known of a problem stands in its facets alone


def make(work: Work) -> Made:
    problems, found = work.read("pool", "problems"), work.trees("texts", "trajectories")
    with work.machines.sandbox(work.prelude) as sandbox:
        chosen = work.settings.selection
        how = (chosen.top, chosen.grounded, chosen.balance)
        kept, rejected = verify(found, problems, work.format, sandbox, *how)
    versions = [(shard, manifest.version) for shard, manifest in work.shards("trees").items()]
    work.table("verified", kept)
    work.table("rejected", rejected)
    work.table("shards", frame("shards", versions))
    known = work.read("pool", "facets").join(kept.select("problem_id"), on="problem_id")
    reasons = rejected.group_by("reason").len("trajectories").sort("reason")
    return Made(
        metrics={"trajectories": kept.height, "rejected": rejected.height},
        tables={"by facet": sizes(known, "trajectories"), "rejected": reasons, "a few": kept.head(5)},
    )
