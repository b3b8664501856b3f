"""The rounds of an experiment, unrolled into a graph of assets: data only, without Dagster, so that it loads at once.

One asset key a round (`quickstart/round_01/policy`), because Dagster rejects a cycle over partitions; the shards of a
sharded stage are its partitions. The factory, the command line, the schedules and `status` all read this one graph.

The code version of an asset is the hash of its maker and the maker's `VERSION`, of the part of the experiment that the
stage reads, and of the keys of what it uses: a change of evaluation settings never makes trajectories stale. What an
asset reads of other assets stands in its manifest, by version (`assets.freshness`).
"""

import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.keys import keys_of
from perseid.artifacts import present
from perseid.artifacts.present import Present
from perseid.experiment import Experiment
from perseid.recipes import Recipe, Refs, Stage, recipe_named
from perseid.section import canonical, deciding, resolved


@dataclass(frozen=True)
class Node:
    """One asset. `roles` are keys of nodes by role; `shards` are its partitions, () where it has none."""

    experiment: str
    stage: str
    round: int | None
    does: str
    reads: tuple[str, ...]
    uses: tuple[str, ...]
    roles: Mapping[str, tuple[str, ...]] = field(hash=False)
    code_version: str
    shards: tuple[str, ...] = ()
    phase: str = ""

    @property
    def key(self) -> str:
        return key_of(self.experiment, self.round, self.stage)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Keys of the nodes that it reads, each once."""
        return tuple(dict.fromkeys(key for keys in self.roles.values() for key in keys))

    @property
    def group(self) -> str:
        return self.experiment if self.round is None else f"{self.experiment}__round_{self.round:02d}"

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Keys of what it publishes: its own, or one a shard."""
        return tuple(f"{self.key}/{shard}" for shard in self.shards) or (self.key,)


Graph = dict[str, Node]  # by key, inputs before what reads them


def unroll(experiment: Experiment, recipe: Recipe | None = None) -> Graph:
    """All assets of `experiment` by its recipe (or another), in an order in which they can be made."""
    return {node.key: node for node in _nodes(experiment, recipe or recipe_named(experiment.recipe))}


def inputs_of(graph: Graph, node: Node) -> tuple[str, ...]:
    """Keys of the artifacts that `node` reads, every shard among them."""
    return tuple(artifact for key in node.inputs for artifact in graph[key].artifacts)


def roles_of(graph: Graph, node: Node) -> dict[str, tuple[str, ...]]:
    """The same by role."""
    return {role: tuple(a for key in keys for a in graph[key].artifacts) for role, keys in node.roles.items()}


def artifacts_of(graph: Graph) -> tuple[str, ...]:
    """Keys of all artifacts of the graph."""
    return tuple(artifact for node in graph.values() for artifact in node.artifacts)


def of_rounds(graph: Graph, last: int) -> Graph:
    """The part of `graph` up to and with round `last`."""
    return {key: node for key, node in graph.items() if (node.round or 0) <= last}


def key_of(experiment: str, round_number: int | None, stage: str) -> str:
    return f"{experiment}/{stage}" if round_number is None else f"{experiment}/round_{round_number:02d}/{stage}"


def round_of(node: Node) -> str:
    """The key of a node's round: what is tracked together. Of `problems`, the experiment."""
    return node.key.rpartition("/")[0]


def shard_names(experiment: Experiment) -> tuple[str, ...]:
    return tuple(f"{shard:03d}" for shard in range(experiment.shards))


def _nodes(e: Experiment, recipe: Recipe) -> Iterator[Node]:
    known = set[str]()
    for r in (None, *range(len(e.rounds) + 1)):
        for stage in recipe.stages(e, r):
            roles = {role: _keys(e.name, r, refs, known) for role, refs in stage.inputs.items()}
            declared, version = (stage.does, stage.reads, stage.uses), code_version(e, r or 0, stage)
            shards = shard_names(e) if stage.sharded else ()
            node = Node(e.name, stage.name, r, *declared, roles, version, shards, stage.phase)
            assert node.key not in known, f"{node.key}: two stages of that name"
            known.add(node.key)
            yield node


def _keys(name: str, r: int | None, refs: Refs, known: Set[str]) -> tuple[str, ...]:
    """The nodes that `refs` name, seen from round `r`; only what stands before is known."""
    found = tuple(key for n in refs.rounds(r) if (key := key_of(name, n, refs.stage)) in known)
    assert refs.many or found, f"round {r}: no {refs.of} {refs.stage} stands before what reads it"
    return found


def code_version(experiment: Experiment, round_number: int, stage: Stage | Node) -> str:
    """16 hex digits: the hash of the maker, its version, what it reads of the experiment, and keys of what it uses."""
    read = deciding(experiment.at(round_number), stage.reads)
    made = [stage.does, maker(stage.does).VERSION, read, keys_of(experiment, stage.uses)]
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def maker(does: str) -> Any:
    """The module that makes what a stage publishes: `make`, `VERSION`, perhaps `after`."""
    return importlib.import_module(f"assets.{does}")


def settings_of(experiment: Experiment, node: Node) -> dict[str, Any]:
    """What the node reads of the experiment, in full, by dotted path."""
    return resolved(experiment.at(node.round or 0), node.reads)


def present_of(experiment: Experiment, graph: Graph, root: Path) -> Present | None:
    """What a root is to know of the experiment; None of one that was read from no file."""
    if experiment.file is None:
        return None
    decides = json.dumps(canonical(experiment), sort_keys=True)
    content = hashlib.sha256(decides.encode()).hexdigest()[:16]
    return present.of(root, experiment.file, content, artifacts_of(graph))


def hash_of(experiment: Experiment) -> str:
    """16 hex digits of the whole experiment, as it was read."""
    return hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()[:16]
