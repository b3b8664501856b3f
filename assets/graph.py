"""The rounds of an experiment, unrolled into a graph of assets: data only, without Dagster, so that it loads at once.

One asset key a round (`quickstart/round_01/policy`), because Dagster rejects a cycle over partitions; the shards of
`trajectories` are its partitions. The factory, the command line, the schedules and `status` all read this one graph.

The code version of an asset is the hash of the part of the experiment that its stage reads, and of the stage's own
`version`: a change of evaluation settings never makes trajectories stale.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perseid.experiment import Experiment, Pool
from perseid.problems import toolbox_version


@dataclass(frozen=True)
class Stage:
    """What a stage reads of the experiment, `reads(experiment, round)`.

    `version` is raised by hand when the stage's code comes to write something else from the same inputs.
    """

    version: int
    reads: Callable[[Experiment, int], Mapping[str, Any]]


def _policy_settings(e: Experiment, r: int) -> dict[str, Any]:
    if r == 0:
        return {"base": e.base, "training": e.training.bootstrap, "engine": e.engine, "seed": e.seed}
    return {"training": e.training_of(r).policy, "method": e.method, "engine": e.engine, "seed": e.seed}


def pools_of(e: Experiment) -> list[Pool]:
    return [e.pool_of(number) for number in range(1, len(e.rounds) + 1)]


# In the order of a round. `problems` stands before all rounds; round_00 has `policy` and `evaluation` alone.
STAGES: dict[str, Stage] = {
    "problems": Stage(
        2, lambda e, r: {"problems": e.problems, "pools": pools_of(e), "tools": toolbox_version(), "seed": e.seed}
    ),
    "trajectories": Stage(
        4,
        lambda e, r: {
            "method": e.method,
            "tools": toolbox_version(),
            "search": e.search_of(r),
            "engine": e.engine,
            "shards": e.shards,
            "seed": e.seed,
        },
    ),
    "verified": Stage(1, lambda e, r: {"method": e.method, "top": e.selection_of(r).top, "seed": e.seed}),
    "pairs": Stage(2, lambda e, r: {"method": e.method, "pairs": e.selection_of(r).pairs, "seed": e.seed}),
    "policy": Stage(1, _policy_settings),
    "control": Stage(1, _policy_settings),
    "ppm": Stage(2, lambda e, r: {"training": e.training_of(r).ppm, "engine": e.engine, "seed": e.seed}),
    "evaluation": Stage(
        3,
        lambda e, r: {
            "method": e.method,
            "evaluation": e.evaluation,
            "search": e.search,
            "engine": e.engine,
            "seed": e.seed,
        },
    ),
}


@dataclass(frozen=True)
class Node:
    """One asset. `inputs` are keys of nodes; `shards` are its partitions, () where it has none."""

    experiment: str
    stage: str
    round: int | None
    inputs: tuple[str, ...]
    code_version: str
    shards: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return key_of(self.experiment, self.round, self.stage)

    @property
    def group(self) -> str:
        return self.experiment if self.round is None else f"{self.experiment}__round_{self.round:02d}"

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Keys of what it publishes: its own, or one a shard."""
        return tuple(f"{self.key}/{shard}" for shard in self.shards) or (self.key,)


Graph = dict[str, Node]  # by key, inputs before what reads them


def unroll(experiment: Experiment) -> Graph:
    """All assets of `experiment`, in an order in which they can be made."""
    return {node.key: node for node in _nodes(experiment)}


def inputs_of(graph: Graph, node: Node) -> tuple[str, ...]:
    """Keys of the artifacts that `node` reads, every shard among them."""
    return tuple(artifact for key in node.inputs for artifact in graph[key].artifacts)


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


def _nodes(e: Experiment) -> Iterator[Node]:
    yield _node(e, None, "problems", [])
    yield _node(e, 0, "policy", [(None, "problems")])
    yield _node(e, 0, "evaluation", [(None, "problems"), (0, "policy")])
    for r in range(1, len(e.rounds) + 1):
        yield from _round(e, r)


def _round(e: Experiment, r: int) -> Iterator[Node]:
    problems, base, training = (None, "problems"), (0, "policy"), e.training_of(r)
    control = control_round(e, r)
    guide = [(r - 1, "ppm")] if e.search_of(r).ppm and r > 1 else []
    yield _node(e, r, "trajectories", [problems, (r - 1, "policy"), *guide], shard_names(e))
    yield _node(e, r, "verified", [problems, (r, "trajectories")])
    yield _node(e, r, "pairs", [problems, (r, "trajectories")])
    yield _node(e, r, "policy", [problems, base, *_history(r, "verified", training.policy.history)])
    if control == r:
        yield _node(e, r, "control", [problems, base])
    arm = [(control, "control")] if control else []
    yield _node(e, r, "ppm", [(r, "policy"), *_history(r, "pairs", training.ppm.history)])
    yield _node(
        e,
        r,
        "evaluation",
        [problems, (r, "policy"), *arm, (r, "ppm"), (r, "verified"), *((n, "evaluation") for n in range(r))],
    )


def control_round(e: Experiment, r: int) -> int | None:
    """The round whose control is that of round `r`: rounds that train alike share one, for it reads nothing else."""
    if e.control is None:
        return None
    return next(n for n in range(1, r + 1) if e.training_of(n).policy == e.training_of(r).policy)


def _history(r: int, stage: str, history: str) -> list[tuple[int | None, str]]:
    return [(n, stage) for n in range(1 if history == "all_rounds" else r, r + 1)]


def _node(
    e: Experiment, r: int | None, stage: str, inputs: list[tuple[int | None, str]], shards: tuple[str, ...] = ()
) -> Node:
    keys = tuple(key_of(e.name, round_number, name) for round_number, name in inputs)
    return Node(e.name, stage, r, keys, code_version(e, r or 0, stage), shards)


def code_version(experiment: Experiment, round_number: int, stage: str) -> str:
    """16 hex digits: the hash of what the stage reads of the experiment, and of its version."""
    declared = STAGES[stage]
    read = {name: _plain(value) for name, value in declared.reads(experiment, round_number).items()}
    text = json.dumps([stage, declared.version, read], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_of(experiment: Experiment) -> str:
    """16 hex digits of the whole experiment, as it was read."""
    return hashlib.sha256(experiment.model_dump_json().encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
