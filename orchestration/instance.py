"""The Dagster instance: its databases, this process's settings of it, and what a dead process left in it."""

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from orchestration.places import Places
from perseid.artifacts.addresses import plain
from perseid.artifacts.disk import replace_file
from perseid.experiment import Experiment

if TYPE_CHECKING:
    import dagster as dg


def open_instance(places: Places) -> "dg.DagsterInstance":
    """The instance that the UI serves, made if there is none, with this process's own settings."""
    import dagster as dg

    create_instance(places)
    return dg.DagsterInstance.from_config(str(plain(places.dagster)), own_settings(places))


def create_instance(places: Places) -> None:
    """Make the instance's databases in another folder first: a kill amid that would leave some that none can open."""
    with alone(places.dagster):
        for leftover in places.dagster.glob(".tmp-*"):  # made here alone, so its maker is dead
            shutil.rmtree(leftover, ignore_errors=True)
        if not (places.dagster / "history").exists():
            _create(places)


def _create(places: Places) -> None:
    import dagster as dg

    with tempfile.TemporaryDirectory(dir=places.dagster, prefix=".tmp-") as folder:
        replace_file(Path(folder) / "dagster.yaml", (places.dagster / "dagster.yaml").read_bytes())
        with dg.DagsterInstance.from_config(str(plain(Path(folder)))) as instance:
            instance.get_runs(limit=1)
            instance.all_asset_keys()
            instance.all_instigator_state()
        for name in ("storage", "schedules", "history"):
            if (made := Path(folder) / name).exists() and not (places.dagster / name).exists():
                made.rename(places.dagster / name)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process of this host is in here."""
    with (folder / ".making.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
