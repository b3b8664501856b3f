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
from assets.problems import shared_questions, unkept_promises
from perseid import tables
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.evaluation.measure import unsound
from perseid.experiment import Experiment

UNSOUND_LIMIT = 0.03  # share of verified programs that may be wrong on fresh instances
SHOWN_FAILURES = 50


def checks_of(experiment: Experiment) -> Iterator[dg.AssetChecksDefinition]:
    for node in unroll(experiment).values():
        yield tables_check(node)
        if node.does in ("problems", "pool"):
            yield disjoint_check(node)
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


def disjoint_check(node: Node) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=asset_key(node.key),
        name="held_out_is_held_out",
        blocking=True,
        description="No question stands in two splits; new wordings and compositions stand in the held-out set alone.",
    )
    def check(store: dg.ResourceParam[Store]) -> dg.AssetCheckResult:
        problems = pl.concat([store.read(key, "problems") for key in [*node.inputs, node.key]])
        [first] = node.roles.get("problems", (node.key,))
        shown = store.read(first, "demonstrations")
        shared, broken = shared_questions(problems, shown), unkept_promises(problems)
        cases = pl.concat([shared, broken], how="diagonal")
        parts = problems.filter(pl.col("split") == "held_out").group_by("part").len("problems").sort("part")
        return result(cases, {"held-out problems": dg.MetadataValue.md(table_markdown(parts))})

    return check


def soundness_check(node: Node) -> dg.AssetChecksDefinition:
    """Not blocking: the share is a measurement of a checkpoint that exists, not a fault of its tables."""

    @dg.asset_check(
        asset=asset_key(node.key),
        name="verified_is_right",
        description=f"Under {UNSOUND_LIMIT:.0%} of the verified programs fail on fresh instances of their families.",
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
