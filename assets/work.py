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

from assets.graph import Graph, Node, hash_of, inputs_of, present_of, roles_of, round_of, settings_of
from assets.tracking import Tracked, Tracking
from assets.training import Trainer
from perseid import tables
from perseid.artifacts import Draft, Facts, Manifest, Store, present
from perseid.engine import Engine, Scorer
from perseid.experiment import Engine as EngineSettings
from perseid.experiment import Experiment
from perseid.formats import Format, format_of
from perseid.graders import Grader, kinds
from perseid.problems.making import redraws
from perseid.problems.source import Redraws
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
    """What runs models and programs."""

    def threads(self, engine: EngineSettings) -> None:
        """Fix the number of threads of what follows: float sums depend on it."""

    def engine(self, folder: Path, engine: EngineSettings) -> AbstractContextManager[Engine]: ...

    def scorer(self, folder: Path, engine: EngineSettings) -> Scorer: ...

    def trainer(self) -> Trainer: ...

    def sandbox(self, prelude: str) -> AbstractContextManager["Sandbox"]:
        """One that knows the text `prelude` before a program begins."""


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
    def format(self) -> Format:
        assert "format" in self.plan.node.uses, f"{self.key} uses no format"
        return format_of(self.plan.experiment.models.policy.format)

    @property
    def prelude(self) -> str:
        """What the sandbox knows before a program begins."""
        assert "prelude" in self.plan.node.uses, f"{self.key} uses no prelude"
        return self.plan.experiment.problems.prelude()

    def graders(self, sandbox: "Sandbox") -> AbstractContextManager[Mapping[str, Grader]]:
        """Those of the kinds of its problems, by kind, open. `sandbox` runs answers that are programs."""
        assert "grader" in self.plan.node.uses, f"{self.key} uses no grader"
        experiment = self.plan.experiment
        return kinds.opened(experiment.graders, experiment.problems.kinds, sandbox)

    @property
    def redraws(self) -> dict[str, Redraws]:
        """By name, the sources of problems that can ask the same anew."""
        assert "redraws" in self.plan.node.uses, f"{self.key} uses no redraws"
        return redraws(self.plan.experiment.problems, self.plan.experiment.seed, self.root)

    @property
    def root(self) -> Path:
        """What relative paths in the experiment file start from."""
        return self.plan.experiment.root

    @property
    def round(self) -> int:
        return self.plan.node.round or 0

    @property
    def key(self) -> str:
        return self.plan.node.key if self.shard is None else f"{self.plan.node.key}/{self.shard}"

    def given(self, role: str) -> bool:
        """Whether the recipe gives this stage anything in the role."""
        return bool(self.plan.node.roles.get(role))

    def input(self, role: str) -> Manifest:
        """The manifest of the one input in a role. Raises `KeyError` where the recipe gives none."""
        [manifest] = self.shards(role).values()
        return manifest

    def inputs_of(self, role: str) -> dict[int, Manifest]:
        """The inputs in a role, by round, in order of rounds; of none of them are there shards."""
        nodes = [self.plan.graph[key] for key in self.plan.node.roles[role]]
        return {node.round or 0: self.inputs[node.key] for node in nodes}

    def shards(self, role: str) -> dict[str, Manifest]:
        """The one input in a role by shard, all of them; of what has no shards, itself as ""."""
        [key] = self.plan.node.roles[role]
        node = self.plan.graph[key]
        return {shard: self.inputs[f"{key}/{shard}"] for shard in node.shards} or {"": self.inputs[key]}

    def read(self, role: str, table: str) -> pl.DataFrame:
        """The rows of a table in all inputs of a role: every round, every shard, in their order."""
        keys = [artifact for key in self.plan.node.roles[role] for artifact in self.plan.graph[key].artifacts]
        found = [self.store.read(self.inputs[key], table) for key in keys]
        return pl.concat(found) if found else tables.frame(table, [])

    def trees(self, *tables: str) -> dict[str, pl.DataFrame]:
        """Tables of the searches in the role `trees`."""
        return {table: self.read("trees", table) for table in tables}

    def model(self, role: str) -> Path:
        """The checkpoint folder of the one input in a role, its files checked."""
        return self.store.folder(self.input(role), "model")

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
            roles=roles_of(work.plan.graph, work.plan.node),
            settings=settings_of(work.plan.experiment, work.plan.node),
            mlflow_run=work.tracked.run_id,
            wall_s=time.monotonic() - self.wall,
            cpu_s=cpu_seconds() - self.cpu,
            tokens=made.tokens,
        )


def cpu_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
