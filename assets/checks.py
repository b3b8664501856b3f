"""Asset checks: the record, in the UI, that what was published holds what it promises, with the rows that do not.

Tables are checked before they become visible as well; here they are read back from the disk, sha256 and all. Blocking
checks stop what is downstream in the same run. A check of `trajectories` reads the shard of its run, or all of them.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets.factory import asset_key, table_markdown
from assets.freshness import units_of
from assets.graph import Node, unroll
from assets.problems import KNOWN, shared_questions, unkept_promises
from perseid import tables
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.evaluation.measure import unsound
from perseid.experiment import Experiment
from perseid.problems.facets import sizes

UNSOUND_LIMIT = 0.03  # share of verified programs that may be wrong on fresh instances
SHOWN_FAILURES = 50


def checks_of(experiment: Experiment) -> Iterator[dg.AssetChecksDefinition]:
    for node in unroll(experiment).values():
        yield tables_check(node)
        if node.does in ("problems", "pool"):
            yield disjoint_check(experiment, node)
        if node.does == "evaluation" and node.roles.get("verified"):
            yield soundness_check(node)


def tables_check(node: Node) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(node.key),
        name="tables_hold",
        blocking=True,
        description="Every table reads back with its hash, keeps its schema, and agrees with its neighbours.",
    )
    def check(context: dg.AssetCheckExecutionContext, store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        failures, rows = [], 0
        for manifest in made(node, store, context.run.tags.get("dagster/partition")):
            rows += sum(manifest.row_counts.values())
            failures += table_failures(manifest, store)
        return result(pl.DataFrame(failures, schema=FAILURES, orient="row"), {"rows": rows})

    return check


FAILURES = {"artifact": pl.String, "table": pl.String, "column": pl.String, "check": pl.String, "failure": pl.String}


def made(node: Node, store: Store, shard: str | None) -> list[Manifest]:
    """What the node has published: of the shard, or of all there are."""
    found = [store.current(unit.key) for unit in units_of(node) if shard in (None, unit.shard)]
    return [manifest for manifest in found if manifest is not None]


def table_failures(manifest: Manifest, store: Store) -> list[tuple[str, ...]]:
    frames: dict[str, pl.DataFrame] = {}
    try:
        for name in manifest.row_counts:
            frames[name] = tables.validate(name, store.read(manifest, name))
        tables.relate(frames)
    except tables.TableError as error:
        where = str(error.where).removeprefix("table ")
        cases = error.failure_cases.select("column", "check", "failure_case").iter_rows()
        return [(manifest.key, where, *(str(value) for value in case)) for case in cases]
    except UserError as error:
        return [(manifest.key, error.key, "", "file", str(error))]
    return []


def disjoint_check(experiment: Experiment, node: Node) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(node.key),
        name="held_out_is_held_out",
        blocking=True,
        description="No held-out question stands in another split, and each source keeps what it promises of them.",
    )
    def check(store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        known = [*node.inputs, node.key]  # of a pool: the problems, and the pools before it
        tables = {name: pl.concat([store.read(key, name) for key in known]).unique() for name in KNOWN}
        [first] = node.roles.get("problems", (node.key,))
        shared = shared_questions(tables, store.read(first, "demonstrations"))
        broken = unkept_promises(tables, experiment.problems, experiment.seed, experiment.root)
        held_out = tables["pools"].filter(pl.col("split") == "held_out")
        parts = sizes(tables["facets"].join(held_out, on="problem_id", how="semi"))
        cases = pl.concat([shared, broken], how="diagonal")
        return result(cases, {"held-out problems": dg.MetadataValue.md(table_markdown(parts))})

    return check


def soundness_check(node: Node) -> dg.AssetChecksDefinition:
    """Not blocking: the share is a measurement of a checkpoint that exists, not a fault of its tables."""

    @dg.asset_check(
        asset=asset_key(node.key),
        name="verified_is_right",
        description=f"Under {UNSOUND_LIMIT:.0%} of the verified programs fail on fresh instances of their questions.",
    )
    def check(store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        soundness = store.read(node.key, "soundness")
        judged = unsound(soundness)
        wrong = soundness.filter(judged.fill_null(False))
        share = wrong.height / max(1, judged.len() - judged.null_count())
        return dg.AssetCheckResult(
            passed=share < UNSOUND_LIMIT,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"share": share, "limit": UNSOUND_LIMIT, "programs": soundness.height, **shown(wrong)},
        )

    return check


def result(cases: pl.DataFrame, more: dict[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=cases.is_empty(), metadata={"failures": cases.height, **more, **shown(cases)})


def shown(cases: pl.DataFrame) -> dict[str, Any]:
    """The first failure cases, as a table of the UI."""
    if cases.is_empty():
        return {}
    rows = cases.head(SHOWN_FAILURES).select(pl.all().cast(pl.String).fill_null(""))
    schema = dg.TableSchema([dg.TableColumn(name) for name in rows.columns])
    return {
        "failure cases": dg.MetadataValue.table([dg.TableRecord(row) for row in rows.iter_rows(named=True)], schema)
    }
