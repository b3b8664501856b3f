"""What follows a publication, derived from the store: a kill may come between the two, and the next command mends it.

A published artifact is followed by the removal of its journal, by the gate's verdict, by what MLflow says of it and by
an event in Dagster. Each is caught up by who comes next, an `evolve` or a tick of the schedule, until all agree with
the store. What Dagster was told last stands beside its databases, so that nothing to tell costs nothing: the file goes
when runs begin, and comes back when they have ended and Dagster knows every current version.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from assets.freshness import Unit, survey, units
from assets.gate import is_settled, judges, settle
from assets.graph import Graph, artifacts_of, unroll
from assets.registry import catch_up as tracking_caught_up
from assets.tracking import Tracking
from orchestration.places import Places
from perseid.artifacts import Manifest, Store
from perseid.artifacts.disk import content_of, make_folder, replace_file, writing
from perseid.artifacts.store import JOURNALS
from perseid.errors import UserError
from perseid.experiment import Experiment

if TYPE_CHECKING:
    import dagster as dg


def catch_up(
    experiment: Experiment, places: Places, tracking: Tracking, opened: "Callable[[], dg.DagsterInstance]"
) -> None:
    """Let the gate, MLflow and Dagster agree with the store. `opened` is called if Dagster has to be told something."""
    graph, store = unroll(experiment), Store(places.root)
    for unit, manifest in made_of(graph, store):
        local(store, experiment, unit, manifest, tracking)
    tracking_caught_up(store, experiment, tracking)
    found = {key: store.current(key) for key in artifacts_of(graph)}
    current = {key: manifest for key, manifest in found.items() if manifest is not None}
    versions = {key: manifest.version for key, manifest in current.items()}
    if versions and told(places, experiment.name) != versions:
        tell(graph, current, opened())
        note(places, experiment.name, versions)


def made_of(graph: Graph, store: Store) -> Iterator[tuple[Unit, Manifest]]:
    """What is fresh, and everything above it, in the order in which it is made."""
    state = survey(graph, store)
    for unit in units(graph):
        if (manifest := state[unit.key]) is not None:
            yield unit, manifest


def local(store: Store, experiment: Experiment, unit: Unit, manifest: Manifest, tracking: Tracking) -> None:
    """What follows beside the artifact itself."""
    if (store.place(unit.key) / JOURNALS).exists():
        from assets.journals import forget_journals  # loads the search

        with suppress(UserError), store.lease(unit.key):  # else it is made again just now, and goes on from them
            forget_journals(store, manifest)
    if judges(unit.node) and not is_settled(store, experiment, manifest):
        settle(store, experiment, manifest, tracking)


def tell(graph: Graph, current: dict[str, Manifest], instance: "dg.DagsterInstance") -> None:
    """Report to Dagster the current versions that it does not know of as its latest."""
    import dagster as dg

    for unit in units(graph):
        manifest = current.get(unit.key)
        if manifest is None or known(instance, unit) == manifest.version:
            continue
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=unit.node.key.split("/"),
                partition=unit.shard,
                description="Published by a run that ended before it could say so.",
                metadata={"artifact": f"perseid://{unit.key}", "version": manifest.version},
                tags={"dagster/data_version": manifest.version},
            )
        )


def known(instance: "dg.DagsterInstance", unit: Unit) -> str | None:
    """The version of a unit that Dagster's latest event is of."""
    import dagster as dg

    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(unit.node.key.split("/")), asset_partitions=None if unit.shard is None else [unit.shard]
    )
    records = instance.fetch_materializations(wanted, limit=1).records
    event = records[0].asset_materialization if records else None
    return None if event is None else (event.tags or {}).get("dagster/data_version")


def told(places: Places, experiment: str) -> dict[str, str]:
    with suppress(OSError, ValueError):
        found = json.loads(content_of(_file(places, experiment)))
        return found if isinstance(found, dict) else {}
    return {}


def note(places: Places, experiment: str, versions: dict[str, str]) -> None:
    path = _file(places, experiment)
    with writing(path):
        make_folder(path.parent)
    replace_file(path, json.dumps(versions, indent=1).encode())


def forget(places: Places, experiment: str) -> None:
    """Before runs begin: if this process dies, the next one looks after what it left."""
    path = _file(places, experiment)
    with writing(path):
        path.unlink(missing_ok=True)


def _file(places: Places, experiment: str) -> Path:
    return places.dagster / "told" / f"{experiment}.json"
