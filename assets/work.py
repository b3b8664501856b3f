"""One attempt to make one asset: what a stage's function is given, and what it gives back.

`attempting` opens the draft and the tracked run, and gathers the inputs' manifests (a missing one is a failure that no
retry mends); the stage's function reads, computes and fills the draft; `publish` makes it visible, at once and whole.
Wall and CPU seconds, tokens and the MLflow run are facts beside the tables, never part of the data version.
"""

import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import polars as pl

from assets.graph import Graph, Node, hash_of, inputs_of, key_of, present_of, round_of, settings_of
from assets.tracking import Tracked, Tracking
from assets.training import Trainer
from perseid.artifacts import Draft, Facts, Manifest, Store, present
from perseid.engine import Engine, Scorer
from perseid.experiment import Engine as EngineSettings
from perseid.experiment import Experiment
from perseid.formats import TOOLS, Format
from perseid.methods import method_named
from perseid.search import Method
from perseid.section import visible

if TYPE_CHECKING:
    from perseid.sandbox import Sandbox


@dataclass(frozen=True)
class Report:
    """How far an asset is: `done` of `total` (problems or optimiser steps), what search solved and generated so far."""

    asset: str
    done: int
    total: int
    unit: str
    solved: int | None = None
    tokens: int | None = None


Reporter = Callable[[Report], None]


class Machines(Protocol):
    """What runs models and programs. The sandbox holds the toolbox that programs call."""

    def threads(self, engine: EngineSettings) -> None:
        """Fix the number of threads of what follows: float sums depend on it."""

    def engine(self, folder: Path, engine: EngineSettings) -> AbstractContextManager[Engine]: ...

    def scorer(self, folder: Path, engine: EngineSettings) -> Scorer: ...

    def trainer(self) -> Trainer: ...

    def sandbox(self) -> AbstractContextManager["Sandbox"]: ...


@dataclass(frozen=True)
class Plan:
    """An asset in its place: the experiment, its whole graph, and the node in it."""

    experiment: Experiment
    graph: Graph
    node: Node


@dataclass(frozen=True)
class Made:
    """What a stage tells besides its tables: for the UI and for tracking.

    metrics: by name. curves: (step, value) by name. pictures: PNG by name. tables: small frames to look at.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0


@dataclass
class Work:
    plan: Plan
    shard: str | None
    store: Store
    machines: Machines
    draft: Draft
    tracked: Tracked
    reporter: Reporter
    inputs: dict[str, Manifest]

    @property
    def settings(self) -> Experiment:
        """The experiment as this round sees it, of which only what the stage declares that it reads is there."""
        return cast(Experiment, visible(self.plan.experiment.at(self.round), self.plan.node.reads))

    @property
    def method(self) -> Method:
        assert "method" in self.plan.node.uses, f"{self.key} uses no method"
        return method_named(self.plan.experiment.method)

    @property
    def format(self) -> Format:
        assert "format" in self.plan.node.uses, f"{self.key} uses no format"
        return TOOLS

    @property
    def round(self) -> int:
        return self.plan.node.round or 0

    @property
    def key(self) -> str:
        return self.plan.node.key if self.shard is None else f"{self.plan.node.key}/{self.shard}"

    def of(self, stage: str, round_number: int | None = None) -> Manifest:
        """The manifest of an input of this round, or of the round that is named; `problems` has none."""
        number = None if stage == "problems" else self.round if round_number is None else round_number
        return self.inputs[key_of(self.plan.experiment.name, number, stage)]

    def rounds_of(self, stage: str) -> dict[int, Manifest]:
        """The inputs of this stage, by round."""
        nodes = [self.plan.graph[key] for key in self.plan.node.inputs]
        return {node.round: self.inputs[node.key] for node in nodes if node.stage == stage and node.round is not None}

    def read(self, stage: str, table: str, round_number: int | None = None) -> pl.DataFrame:
        return self.store.read(self.of(stage, round_number), table)

    def every(self, table: str) -> pl.DataFrame:
        """The rows of a table in all inputs that have it: `problems` and each pool."""
        return pl.concat([self.store.read(found, table) for found in self.inputs.values() if table in found.row_counts])

    def shards(self) -> dict[str, Manifest]:
        """The shards of this round's trajectories, by name, all of them."""
        node = self.plan.graph[key_of(self.plan.experiment.name, self.round, "trajectories")]
        return {shard: self.inputs[f"{node.key}/{shard}"] for shard in node.shards}

    def read_shards(self, *tables: str) -> dict[str, pl.DataFrame]:
        found = self.shards().values()
        return {table: pl.concat([self.store.read(manifest, table) for manifest in found]) for table in tables}

    def model(self, stage: str, round_number: int | None = None) -> Path:
        """The checkpoint folder of an input, its files checked."""
        return self.store.folder(self.of(stage, round_number), "model")

    def table(self, name: str, frame: pl.DataFrame) -> None:
        self.draft.table(name, frame)

    def steps(self, done: int, total: int) -> None:
        self.reporter(Report(self.key, done, total, "steps"))


@contextmanager
def attempting(
    plan: Plan,
    shard: str | None,
    store: Store,
    machines: Machines,
    tracking: Tracking,
    reporter: Reporter,
    tags: Mapping[str, str],
) -> Iterator[Work]:
    key = plan.node.key if shard is None else f"{plan.node.key}/{shard}"
    if (now := present_of(plan.experiment, plan.graph, store.root)) is not None:
        present.record(store.root, plan.experiment.name, now)
    inputs = present_inputs(plan, store)
    with (
        store.lease(key),
        tracking.attempt(round_of(plan.node), key, tags) as tracked,
        store.draft(key) as draft,
    ):
        tracked.params(flat(settings_of(plan.experiment, plan.node)))
        yield Work(plan, shard, store, machines, draft, tracked, reporter, inputs)


def present_inputs(plan: Plan, store: Store) -> dict[str, Manifest]:
    """The inputs' manifests. Refuses while one is missing: a run of one shard must not close a round."""
    found = {key: store.current(key) for key in inputs_of(plan.graph, plan.node)}
    missing = [key for key, manifest in found.items() if manifest is None]
    if missing:
        import dagster as dg  # here, because what only reads the graph loads without it

        raise dg.Failure(f"{plan.node.key}: not made yet: {', '.join(missing)}", allow_retries=False)
    return {key: manifest for key, manifest in found.items() if manifest is not None}


def flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    """Settings by dotted name, each as text."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": str(value)}
    return found


@dataclass(frozen=True)
class Clock:
    """Seconds since it was made, of this process and its ended children."""

    wall: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=lambda: cpu_seconds())

    def facts(self, work: Work, made: Made) -> Facts:
        return Facts(
            experiment_hash=hash_of(work.plan.experiment),
            seeds={"experiment": work.plan.experiment.seed},
            settings=settings_of(work.plan.experiment, work.plan.node),
            mlflow_run=work.tracked.run_id,
            wall_s=time.monotonic() - self.wall,
            cpu_s=cpu_seconds() - self.cpu,
            tokens=made.tokens,
        )


def cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
