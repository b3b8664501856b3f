"""Evolve: make what is not fresh, in order, each unit a Dagster run in this process on the persistent instance.

What is fresh is read from the manifests before each unit, so an input that is re-made byte for byte leaves what follows
it as it is, and a version of before, from the same inputs and code (a setting changed and changed back)
counts again. An interrupted evolve goes on where it stopped, and a second one does nothing and loads nothing heavy.
A killed evolve leaves runs that look active: the next one marks them as failed before it starts, and catches up with
what follows a publication (`follow`).
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assets.freshness import Unit, fresh, restored, survey, units
from assets.gate import is_settled, judges, settle
from assets.graph import Graph, Node, of_rounds, present_of, unroll
from assets.work import Report, Reporter
from orchestration import follow, signals
from orchestration.instance import bury_dead_runs, check_databases, open_instance, run_tags
from orchestration.places import Places
from orchestration.tracking import tracking_of
from perseid.artifacts import Manifest, Store, present
from perseid.engines import Server
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.graders.kinds import try_loading

if TYPE_CHECKING:
    import dagster as dg

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Show(Protocol):
    """What the user sees of it."""

    @property
    def reporter(self) -> Reporter: ...

    def begins(self, unit: Unit, position: int, total: int) -> None: ...

    def ended(self, unit: Unit, manifest: Manifest, made: bool) -> None: ...


@dataclass(frozen=True)
class Evolved:
    """How many units were made, and how many were fresh already."""

    made: int
    kept: int


def evolve(
    experiment: Experiment, places: Places, show: Show, rounds: int | None = None, take_over: bool = False
) -> Evolved:
    """Bring every artifact up to round `rounds` (all, if None) up to date.

    `take_over`: also where another file holds the experiment's name in this root (`perseid.artifacts.present`).
    Raises `UserError` for the user's mistakes, and what a stage raises as it is; either way what was made stays.
    """
    graph, store = graph_of(experiment, rounds), Store(places.root)
    wanted, made = list(units(graph)), 0
    with places.evolving(experiment.name), Runs(experiment, places, interruptible(show.reporter)) as runs:
        check_databases(places)
        hold(experiment, store, take_over)
        store.sweep(experiment.name)
        check_endpoints(experiment, graph, store)
        check_graders(experiment, graph, store)
        for position, unit in enumerate(wanted):
            signals.check()
            manifest = fresh(graph, unit, store) or restored(graph, unit, store)
            if stale := manifest is None:
                show.begins(unit, position, len(wanted))
                runs.make(unit)
                manifest = store.current(unit.key)
            assert manifest is not None
            if judges(unit.node) and not is_settled(store, experiment, manifest):
                settle(store, experiment, manifest, tracking_of(places))
            made += stale
            show.ended(unit, manifest, stale)
        follow.catch_up(experiment, places, tracking_of(places), runs.dagster)
    return Evolved(made, len(wanted) - made)


def hold(experiment: Experiment, store: Store, take_over: bool = False) -> None:
    """Note in the root that the name is this file's, and what its graph has now."""
    if (now := present_of(experiment, unroll(experiment), store.root)) is not None:
        present.record(store.root, experiment.name, now, take_over)


def check_endpoints(experiment: Experiment, graph: Graph, store: Store) -> None:
    """Ask the servers that something missing will need. Raises `UserError` when none of them can be used."""
    state = survey(graph, store)
    needed = {node.round or 0 for node in graph.values() if "engine" in node.reads and missing(node, state)}
    for engine in {experiment.at(number).engine for number in needed}:
        if isinstance(engine, Server):
            from models.engines.reach import check_reach

            check_reach(experiment.name, engine)


def check_graders(experiment: Experiment, graph: Graph, store: Store) -> None:
    """Load the user's own graders, if something missing will need them. Raises `UserError` where one cannot be."""
    state = survey(graph, store)
    if any("grader" in node.uses and missing(node, state) for node in graph.values()):
        try_loading(experiment.graders, experiment.problems.kinds)


def missing(node: Node, state: dict[str, Manifest | None]) -> bool:
    return any(state[key] is None for key in node.artifacts)


def interruptible(reporter: Reporter) -> Reporter:
    """Ends the work at its next word if it was told to end: Dagster may have caught the first exception."""

    def report(word: Report) -> None:
        signals.check()
        reporter(word)

    return report


def graph_of(experiment: Experiment, rounds: int | None) -> Graph:
    last = len(experiment.rounds)
    if rounds is not None and not 0 <= rounds <= last:
        raise UserError(experiment.name, "rounds", f"expected a number in [0, {last}], found {rounds}")
    return of_rounds(unroll(experiment), last if rounds is None else rounds)


class Runs:
    """Dagster runs in this process, opened at the first one, so that nothing to do costs nothing."""

    def __init__(self, experiment: Experiment, places: Places, reporter: Reporter) -> None:
        self.experiment, self.places, self.reporter = experiment, places, reporter
        self.instance: dg.DagsterInstance | None = None
        self.job: dg.JobDefinition | None = None

    def dagster(self) -> "dg.DagsterInstance":
        """The instance, without what dead runs of this experiment left in it."""
        if self.instance is None:
            self.instance = open_instance(self.places)
            bury_dead_runs(self.instance, self.experiment.name)
        return self.instance

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        if self.instance is not None:
            self.instance.dispose()

    def make(self, unit: Unit) -> None:
        from assets.factory import asset_key

        self._job().execute_in_process(
            instance=self.dagster(),
            asset_selection=[asset_key(unit.node.key)],
            partition_key=unit.shard,
            run_config=QUIET,
            tags=run_tags(self.experiment),
            raise_on_error=True,
        )

    def _job(self) -> "dg.JobDefinition":
        if self.job is None:
            from orchestration.code_location import definitions
            from orchestration.resources import resources

            follow.forget(self.places, self.experiment.name)
            provided = resources(self.places, self.reporter)
            defs = definitions([self.experiment], provided, self.places)
            self.job = defs.resolve_implicit_global_asset_job_def()
        return self.job


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep libraries from writing into the display, and from burning a shared core; what fails still raises."""
    for name, value in (
        # Threads that spin long for each other stall when another process wants the core; that never spin, always do.
        ("GOMP_SPINCOUNT", "20000"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("TQDM_DISABLE", "1"),
        ("MLFLOW_LOGGING_LEVEL", "ERROR"),
    ):
        os.environ.setdefault(name, value)
    for name in ("dagster", "mlflow", "alembic", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield
