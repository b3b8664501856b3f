"""Questions to the store, in SQL: every table of every artifact as a view, and named queries in the files beside this.

    problems gold demonstrations nodes texts trajectories searches verified rejected unverified shards pairs
    pair_rejects examples training pair_scores evaluations metrics soundness
        the rows of the Parquet files, each with its artifact: experiment, round, stage, shard, key, version
    manifests
        one row a version: what made it, when, at what cost; `settings`, in JSON, is all that its maker read of the
        experiment, by dotted path (settings->'$."method".rollouts'); `git_dirty`: files differed from the commit
    lineage
        edges: child_key, child_version, role, parent_key, parent_version; what was read in two roles has two,
        what was made before roles were recorded has null

A view holds the rows of the current versions of what the experiment's graph has now (not of shards or rounds that it
had once), unless all versions are asked for; `lineage` always holds all edges.
`round` is the artifact's round (null outside rounds), but for `problems`, where it is the problem's own. A table's own
columns of such a name are called otherwise: `from_round` of an example (where its trajectory comes from), `read_shard`
and `read_version` in `shards`. DuckDB only reads, in memory, and only the store.
"""

from perseid.queries.catalog import Query, named
from perseid.queries.running import VIEWS, Limits, run_query

__all__ = ["VIEWS", "Limits", "Query", "named", "run_query"]
