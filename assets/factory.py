"""From the graph to Dagster: one asset definition a node, all of one shape.

A definition gathers the resources, opens the attempt, calls the stage's function, publishes, and returns what the UI
shows. Definitions load without the weights' libraries: a stage imports them when it is made. No stage is known by name:
`assets/<maker>.py` is looked up by what a node does.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from assets import plots
from assets.graph import Node, maker, round_of, unroll
from assets.registry import close_if_complete
from assets.tracking import Tracking
from assets.work import Clock, Machines, Made, Plan, Reporter, Work, attempting
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment

SHOWN_ROWS = 40


def assets_of(experiment: Experiment) -> Iterator[dg.AssetsDefinition]:
    graph = unroll(experiment)
    for node in graph.values():
        yield asset_of(Plan(experiment, graph, node))


def asset_of(plan: Plan) -> dg.AssetsDefinition:
    node, graph, made_by = plan.node, plan.graph, maker(plan.node.does)

    @dg.asset(
        key=asset_key(node.key),
        deps=[asset_key(key) for key in node.inputs],
        group_name=node.group,
        code_version=node.code_version,
        partitions_def=dg.StaticPartitionsDefinition(node.shards) if node.shards else None,
        description=(made_by.__doc__ or "").strip(),
        kinds=getattr(made_by, "KINDS", {"polars"}),
        tags=labels(node),
    )
    def made(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        machines: dg.ResourceParam[Machines],
        tracking: dg.ResourceParam[Tracking],
        reporter: dg.ResourceParam[Reporter],
    ) -> dg.MaterializeResult[None]:
        clock, shard = Clock(), context.partition_key if node.shards else None
        with attempting(plan, shard, store, machines, tracking, reporter, tags_of(context)) as work:
            result = made_by.make(work)
            versions = {key: manifest.version for key, manifest in work.inputs.items()}
            manifest = work.draft.publish(node.code_version, versions, clock.facts(work, result))
            tell(work, manifest, result)
            follows = getattr(made_by, "after", nothing)(work, manifest, result, tracking)
            close_if_complete(store, graph, round_of(node), tracking)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(manifest.version),
            metadata={
                **metadata(manifest, result, work.tracked.url),
                **{name: dg.MetadataValue.md(text) for name, text in follows.items()},
            },
        )

    assert set(node.inputs) <= set(graph)
    return made


def asset_key(key: str) -> dg.AssetKey:
    return dg.AssetKey(key.split("/"))


def labels(node: Node) -> dict[str, str]:
    """By which the UI filters. `phase`: of the loop of self-evolution, where the recipe says it."""
    named = {"experiment": node.experiment, "stage": node.stage, "phase": node.phase}
    return {f"perseid/{name}": value for name, value in named.items() if value}


def tags_of(context: dg.AssetExecutionContext) -> dict[str, str]:
    return {"dagster.run_id": context.run.run_id, "attempt": str(context.retry_number + 1)}


def tell(work: Work, manifest: Manifest, made: Made) -> None:
    """Write the attempt's outcome to its tracked run."""
    work.tracked.tag({"data_version": manifest.version, "code_version": manifest.code_version})
    work.tracked.metrics({**made.metrics, "wall_s": manifest.wall_s, "tokens": float(manifest.tokens)})
    for name, points in made.curves.items():
        work.tracked.curve(name, points)
    for name, png in made.pictures.items():
        work.tracked.picture(name, png)


def nothing(work: Work, manifest: Manifest, made: Made, tracking: Tracking) -> Mapping[str, str]:
    """What follows the publishing of most artifacts; a maker's `after` gives more metadata."""
    return {}


def metadata(manifest: Manifest, made: Made, tracked_url: str) -> dict[str, Any]:
    shown: dict[str, Any] = {name: dg.MetadataValue.float(float(value)) for name, value in made.metrics.items()}
    shown |= {name: dg.MetadataValue.md(plots.markdown(name, png)) for name, png in made.pictures.items()}
    shown |= {name: dg.MetadataValue.md(table_markdown(frame)) for name, frame in made.tables.items()}
    shown |= {name: dg.MetadataValue.text(note) for name, note in made.notes.items()}
    return {
        **shown,
        "artifact": dg.MetadataValue.text(f"perseid://{manifest.key}"),
        "version": manifest.version,
        "code version": manifest.code_version,
        "inputs": dg.MetadataValue.json(dict(manifest.inputs)),
        "roles": dg.MetadataValue.json({role: list(keys) for role, keys in manifest.roles.items()}),
        "rows": dg.MetadataValue.json(dict(manifest.row_counts)),
        "seconds": manifest.wall_s,
        "tokens": manifest.tokens,
        "MLflow run": dg.MetadataValue.url(tracked_url),
    }


def table_markdown(frame: pl.DataFrame) -> str:
    """A small frame as a table; longer ones are cut, and say so."""
    head = frame.head(SHOWN_ROWS)
    lines = ["| " + " | ".join(head.columns) + " |", "|" + " --- |" * len(head.columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in head.iter_rows()]
    return "\n".join(lines) + (f"\n\n{frame.height - SHOWN_ROWS} more rows" if frame.height > SHOWN_ROWS else "")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ⏎ ")[:200]
