"""Which artifacts are made, and still of what stands above them: read from our manifests, not from Dagster's events.

An artifact is fresh when its manifest has the code version that the graph asks for and names the present versions of
its inputs. That is one level deep, as in Dagster; `survey` carries it down the graph.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from assets.graph import Graph, Node, inputs_of, roles_of
from perseid.artifacts import Manifest, Store


@dataclass(frozen=True)
class Unit:
    """What one run makes: an asset, or one shard of it. `key` is its artifact's."""

    node: Node
    shard: str | None
    key: str


def units(graph: Graph) -> Iterator[Unit]:
    """All units, inputs before what reads them."""
    for node in graph.values():
        yield from units_of(node)


def units_of(node: Node) -> list[Unit]:
    return [Unit(node, shard, f"{node.key}/{shard}") for shard in node.shards] or [Unit(node, None, node.key)]


def input_versions(graph: Graph, node: Node, store: Store) -> dict[str, str] | None:
    """Present versions of the inputs, by key; None while one is missing."""
    found = {key: store.current(key) for key in inputs_of(graph, node)}
    present = {key: manifest.version for key, manifest in found.items() if manifest is not None}
    return present if len(present) == len(found) else None


def fresh(graph: Graph, unit: Unit, store: Store) -> Manifest | None:
    """The unit's manifest, if it is of the present inputs and code."""
    inputs = input_versions(graph, unit.node, store)
    if inputs is None:
        return None
    return store.fresh(unit.key, unit.node.code_version, inputs, roles_of(graph, unit.node))


def restored(graph: Graph, unit: Unit, store: Store) -> Manifest | None:
    """The unit's manifest of an earlier making from the present inputs and code, which then counts again."""
    inputs = input_versions(graph, unit.node, store)
    if inputs is None:
        return None
    with store.lease(unit.key):
        return store.restore(unit.key, unit.node.code_version, inputs, roles_of(graph, unit.node))


def survey(graph: Graph, store: Store) -> dict[str, Manifest | None]:
    """Every artifact with its manifest if it and everything above it is fresh, else None."""
    state: dict[str, Manifest | None] = {}
    for unit in units(graph):
        settled = all(state.get(key) for key in inputs_of(graph, unit.node))
        state[unit.key] = fresh(graph, unit, store) if settled else None
    return state
