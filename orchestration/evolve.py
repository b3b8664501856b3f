"""Evolve: make what is not fresh, in order, each unit a Dagster run in this process on the persistent instance.

What is fresh is read from the manifests before each unit, so an input that is re-made byte for byte leaves what follows
it as it is, an interrupted evolve goes on where it stopped, and a second one does nothing and loads nothing heavy.
A killed evolve leaves runs that look active: the next one marks them as failed before it starts; and if the kill came
between an evaluation and the gate, the next one asks the gate.
"""

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from assets.freshness import Unit, fresh, units
from assets.gate import is_settled, settle
from assets.graph import Graph, of_rounds, unroll
from assets.registry import catch_up
from assets.work import Report, Reporter
from orchestration import signals
from orchestration.places import Places
from orchestration.tracking import tracking_of
from perseid.artifacts import Manifest, Store
from perseid.artifacts.addresses import plain
from perseid.artifacts.disk import replace_file
from perseid.errors import UserError
from perseid.experiment import Experiment

if TYPE_CHECKING:
    import dagster as dg

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Show(Protocol):
    """What the user sees of it."""

    reporter: Reporter

    def begins(self, unit: Unit, position: int, total: int) -> None: ...

    def ended(self, unit: Unit, manifest: Manifest, made: bool) -> None: ...


@dataclass(frozen=True)
class Evolved:
    """How many units were made, and how many were fresh already."""

    made: int
    kept: int


def evolve(experiment: Experiment, places: Places, show: Show, rounds: int | None = None) -> Evolved:
    """Bring every artifact up to round `rounds` (all, if None) up to date.

    Raises `UserError` for the user's mistakes, and what a stage raises as it is; either way what was made stays.
    """
    graph, store = graph_of(experiment, rounds), Store(places.root)
    wanted, made = list(units(graph)), 0
    with places.evolving(experiment.name), Runs(experiment, places, interruptible(show.reporter)) as runs:
        store.sweep(experiment.name)
        for position, unit in enumerate(wanted):
            signals.check()
            manifest = fresh(graph, unit, store)
            if stale := manifest is None:
                show.begins(unit, position, len(wanted))
                runs.make(unit)
                manifest = store.current(unit.key)
            assert manifest is not None
            if unit.node.stage == "evaluation" and not is_settled(store, manifest):
                settle(store, experiment, manifest, tracking_of(places))
            made += stale
            show.ended(unit, manifest, stale)
    catch_up(store, experiment, tracking_of(places))
    return Evolved(made, len(wanted) - made)


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

    def __enter__(self) -> "Runs":
        return self

    def __exit__(self, *_: object) -> None:
        if self.instance is not None:
            self.instance.dispose()

    def make(self, unit: Unit) -> None:
        from assets.factory import asset_key

        instance, job = self._opened()
        job.execute_in_process(
            instance=instance,
            asset_selection=[asset_key(unit.node.key)],
            partition_key=unit.shard,
            run_config=QUIET,
            tags=run_tags(self.experiment),
            raise_on_error=True,
        )

    def _opened(self) -> "tuple[dg.DagsterInstance, dg.JobDefinition]":
        if self.instance is None or self.job is None:
            import dagster as dg

            from orchestration.code_location import definitions
            from orchestration.resources import resources

            create_instance(self.places)
            self.instance = dg.DagsterInstance.from_config(str(plain(self.places.dagster)), own_settings(self.places))
            bury_dead_runs(self.instance, self.experiment.name)
            provided = resources(self.places, self.reporter)
            defs = definitions([self.experiment], provided, self.places)
            self.job = defs.resolve_implicit_global_asset_job_def()
        return self.instance, self.job


def create_instance(places: Places) -> None:
    """Make the instance's databases in another folder first: a kill amid that would leave some that none can open."""
    import dagster as dg

    if (places.dagster / "history").exists():
        return
    with tempfile.TemporaryDirectory(dir=places.dagster, prefix=".tmp-") as folder:
        replace_file(Path(folder) / "dagster.yaml", (places.dagster / "dagster.yaml").read_bytes())
        with dg.DagsterInstance.from_config(str(plain(Path(folder)))) as instance:
            instance.get_runs(limit=1)
            instance.all_asset_keys()
            instance.all_instigator_state()
        for name in ("storage", "schedules", "history"):
            if (made := Path(folder) / name).exists() and not (places.dagster / name).exists():
                made.rename(places.dagster / name)


def own_settings(places: Places) -> str:
    """The instance's settings without the capture of output, which would take the display; the name of their file.

    It is the same instance: only what this process does with its own output differs from `dagster.yaml`.
    """
    settings = yaml.safe_load((places.dagster / "dagster.yaml").read_text()) or {}
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    own = places.dagster / "evolve.yaml"
    replace_file(own, yaml.safe_dump({**settings, "compute_logs": nowhere}).encode())
    return own.name


def run_tags(experiment: Experiment) -> dict[str, str]:
    from orchestration.schedules import EVOLVE_TAG, EXPERIMENT_TAG

    # An evolve is its own retry: the daemon of a running UI must not start a second one beside it.
    own = {EXPERIMENT_TAG: experiment.name, EVOLVE_TAG: f"{socket.gethostname()}:{os.getpid()}"}
    return {**own, "dagster/max_retries": "0"}


def bury_dead_runs(instance: "dg.DagsterInstance", experiment: str) -> None:
    """Mark as failed what a dead evolve of this experiment left active; its lock is ours, so none of them lives."""
    import dagster as dg

    from orchestration.schedules import ACTIVE, EVOLVE_TAG, EXPERIMENT_TAG

    for run in instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE, tags={EXPERIMENT_TAG: experiment})):
        if EVOLVE_TAG in run.tags:
            instance.report_run_failed(run, "The evolve that made this run ended before it.")


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
