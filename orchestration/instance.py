"""The Dagster instance: its settings and databases, made once and looked at before anything rests on them.

Dagster's web server and daemon would each migrate an empty instance, at the same time, and ruin it: so one process
makes all databases, under a lock, in another folder first, for a kill amid that would leave some that none can open.
"""

import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestration.mlflow_link import DATABASE, MAKING, flock_within
from orchestration.places import Places
from perseid.artifacts.addresses import plain
from perseid.artifacts.disk import content_of, replace_file
from perseid.errors import UserError
from perseid.experiment import Experiment

if TYPE_CHECKING:
    import dagster as dg

SETTINGS = "dagster.yaml"
FOLDERS = ("storage", "schedules", "history")  # in the order in which they are put in place
DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
LONGEST = 300  # characters of an error
WAIT_S = 60.0  # for another process that makes them
WHOLE_BYTES = 2**26  # a database up to this size is read whole


def check_databases(places: Places) -> None:
    """Raises `UserError` naming the settings or the database that is damaged, and what is lost without it."""
    settings_of(places)
    for name in DATABASES:
        check_database(places.dagster / name, "the history of runs there is lost, artifacts are not")
    check_database(places.mlflow / DATABASE, "registered versions come back from the artifacts, curves do not")


def check_database(path: Path, lost: str) -> None:
    """Raises `UserError` unless `path` is a SQLite file, or nothing; one that is locked is taken for whole."""
    if not path.exists():
        return
    if not path.is_file():  # a pipe would be waited for
        raise UserError(path, "", f"expected a database, found none; move it away and run again: {lost}")
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
            if path.stat().st_size <= WHOLE_BYTES:
                (found,) = connection.execute("pragma quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return
        raise UserError(path, "", f"is damaged ({one_line(error)}); move it away and run again: {lost}") from error


def settings_of(places: Places) -> dict[str, Any]:
    """What `dagster.yaml` says. Raises `UserError` for what is no mapping in YAML."""
    path = places.dagster / SETTINGS
    try:
        settings = yaml.safe_load(content_of(path)) if path.exists() else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(path, "", f"cannot be read ({one_line(error)}); {MEND}") from error
    if not isinstance(settings, dict | None):
        raise UserError(path, "", f"expected a mapping of settings, found {type(settings).__name__}; {MEND}")
    return settings or {}


MEND = "mend it, or delete it to get the default"


def open_instance(places: Places) -> "dg.DagsterInstance":
    """The instance that the UI serves, made if there is none, with this process's own settings."""
    create_instance(places)
    return open_folder(places.dagster, own_settings(places))


@contextmanager
def opened(folder: Path) -> "Iterator[dg.DagsterInstance]":
    instance = open_folder(folder)
    try:
        yield instance
    finally:
        instance.dispose()


def open_folder(folder: Path, settings: str = SETTINGS) -> "dg.DagsterInstance":
    """Raises `UserError` for settings that Dagster does not take."""
    import dagster as dg
    from dagster._check import CheckError

    refusals = (dg.DagsterError, CheckError, ImportError, AttributeError, TypeError, ValueError, FileNotFoundError)
    home = str(plain(folder))
    try:
        instance = dg.DagsterInstance.from_config(home, settings)
        _ = instance.run_launcher, instance.run_coordinator  # made when they are first asked for
        return instance
    except refusals as error:
        place = folder.parent if folder.name.startswith(MAKING) else folder
        raise UserError(place / SETTINGS, "", f"Dagster refuses it ({one_line(error)}); {MEND}") from error


def one_line(error: Exception) -> str:
    """What was wrong, without the long list of what Dagster would take."""
    lines = [line.strip().partition(" Expected: ")[0] for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:LONGEST]


def create_instance(places: Places) -> None:
    """Make the databases that are missing. Raises `UserError` for settings or databases that are damaged."""
    check_databases(places)
    if "storage" in settings_of(places):  # not ours to make
        return
    with (places.dagster / ".lock").open("w") as lock:
        flock_within(lock.fileno(), WAIT_S)
        for leftover in places.dagster.glob(f"{MAKING}*"):  # made under the lock alone, so its maker is dead
            shutil.rmtree(leftover, ignore_errors=True)
        if not all((places.dagster / name).exists() for name in DATABASES):
            _create(places)


def _create(places: Places) -> None:
    with tempfile.TemporaryDirectory(dir=places.dagster, prefix=MAKING) as made:
        replace_file(Path(made) / SETTINGS, (places.dagster / SETTINGS).read_bytes())
        _touch(Path(made))
        for name in FOLDERS:
            if (Path(made) / name).exists() and not (places.dagster / name).exists():
                (Path(made) / name).rename(places.dagster / name)
    _touch(places.dagster)  # where only one of them was missing


def _touch(folder: Path) -> None:
    """Ask each storage something: it makes its tables at the first question."""
    with opened(folder) as instance:
        instance.get_runs(limit=1)
        instance.all_asset_keys()
        instance.all_instigator_state()


def own_settings(places: Places) -> str:
    """The instance's settings without the capture of output, which would take the display; the name of their file.

    It is the same instance: only what this process does with its own output differs from `dagster.yaml`.
    """
    nowhere = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    own = places.dagster / "evolve.yaml"
    replace_file(own, yaml.safe_dump({**settings_of(places), "compute_logs": nowhere}).encode())
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
