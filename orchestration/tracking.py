"""Experiment tracking by MLflow: a parent run a round, a child run an attempt, registered versions with aliases.

On `MlflowClient` alone: the fluent interface keeps a global active run, which mixes rounds into one. mlflow is imported
at the first attempt, so that definitions load without it. The store is a SQLite file with an explicit artifact folder
(without one, artifacts land below the current directory). Many processes may write; the two steps that search and then
create (a round's run, a registered version) hold a file lock.
"""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from orchestration.places import Places, sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

BATCH = 1000  # metrics a call, the store's limit
PARAMS = 100  # params a call, the same
VALUE, NAME = 6000, 250  # characters of a param's value and of its name, the same
CUT = "… (cut)"
SUCCESS, FAILURE = "FINISHED", "FAILED"


KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens on its runs, not on traces of agents


def experiment_of(round_key: str) -> str:
    return round_key.split("/")[0]


def metric_name(name: str) -> str:
    """MLflow refuses "@": `pass@1` is called `pass_at_1` there."""
    return name.replace("@", "_at_")


def param_name(name: str) -> str:
    """MLflow takes letters, digits, and `_-. :/` in the name of a param, and no path that leads up."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).strip("/.")[:NAME] or "_"


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(CUT)] + CUT


class MlflowAttempt:
    """A child run being written."""

    def __init__(self, client: "MlflowClient", run_id: str, url: str) -> None:
        self.client, self.run_id, self.url = client, run_id, url

    def tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def params(self, values: Mapping[str, str]) -> None:
        """In batches; MLflow refuses another value for a name that it has, and values that are too long."""
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        named = {param_name(name): cut(value, VALUE) for name, value in values.items()}
        new = [Param(name, value) for name, value in named.items() if name not in known]
        for start in range(0, len(new), PARAMS):
            self.client.log_batch(self.run_id, params=new[start : start + PARAMS])

    def metrics(self, values: Mapping[str, float]) -> None:
        write_metrics(self.client, self.run_id, [(name, 0, value) for name, value in values.items()])

    def curve(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        write_metrics(self.client, self.run_id, [(name, step, value) for step, value in points])

    def picture(self, name: str, png: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self.client.log_artifact(self.run_id, str(path), "plots")


class MlflowTracking(dg.ConfigurableResource):
    """The `tracking` resource.

    folder: where `mlflow.db`, the artifacts and the lock live.
    ui: address under which `make ui` serves MLflow, for links. dagster_ui: the same of Dagster.
    """

    folder: str
    ui: str = "http://127.0.0.1:5000"
    dagster_ui: str = "http://127.0.0.1:3000"

    @property
    def uri(self) -> str:
        return sqlite_uri(Path(self.folder).resolve() / "mlflow.db")

    @cached_property
    def _client(self) -> "MlflowClient":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        with self._lock():
            from mlflow import MlflowClient

            self._create_store()
            return MlflowClient(self.uri, self.uri)

    def _create_store(self) -> None:
        """Make the database under another name first: a kill amid its migrations would leave one that none can open."""
        from mlflow import MlflowClient

        final = Path(self.folder).resolve() / "mlflow.db"
        if final.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".tmp-") as folder:
            made = Path(folder) / final.name
            MlflowClient(sqlite_uri(made), sqlite_uri(made)).search_experiments()
            made.rename(final)

    def experiment_id(self, name: str) -> str:
        """Of the MLflow experiment of an experiment of ours, made if there is none."""
        client = self._client  # takes the lock itself
        with self._lock():
            found = client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            artifacts = (Path(self.folder).resolve() / "artifacts" / name).as_uri()
            return str(client.create_experiment(name, artifact_location=artifacts, tags=KIND))

    @contextmanager
    def attempt(self, round_key: str, asset: str, tags: Mapping[str, str]) -> Iterator[MlflowAttempt]:
        parent, experiment_id = self._round_run(round_key), self.experiment_id(experiment_of(round_key))
        own = {"mlflow.parentRunId": parent, "mlflow.runName": asset, "perseid.asset": asset, "perseid.of": round_key}
        if dagster_run := tags.get("dagster.run_id"):
            own["dagster.url"] = f"{self.dagster_ui}/runs/{dagster_run}"
        run = self._client.create_run(experiment_id, tags={**own, **tags})
        url = f"{self.ui}/#/experiments/{experiment_id}/runs/{run.info.run_id}"
        status = FAILURE
        try:
            yield MlflowAttempt(self._client, run.info.run_id, url)
            status = SUCCESS
        finally:
            self._client.set_terminated(run.info.run_id, status)

    def register(self, model: str, folder: Path, version: str, tags: Mapping[str, str], run_id: str) -> str:
        client = self._client
        with self._lock():
            self._ensure_model(model)
            if found := self._registered(model, version):
                return found
            made = client.create_model_version(
                model,
                folder.resolve().as_uri(),
                run_id=run_id or None,
                tags={**tags, "data_version": version},
                await_creation_for=None,
            )
            return str(made.version)

    def alias(self, model: str, alias: str, version: str) -> None:
        """Raises `LookupError` when no registered version has that data version."""
        number = self._registered(model, version)
        if number is None:
            raise LookupError(f"{model}: no registered version has the data version {version}")
        self._client.set_registered_model_alias(model, alias, number)

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        run_id = self._round_run(round_key)
        write_metrics(self._client, run_id, [(name, 0, value) for name, value in metrics.items()])
        self._client.set_terminated(run_id, SUCCESS)

    def _round_run(self, round_key: str) -> str:
        experiment_id = self.experiment_id(experiment_of(round_key))
        with self._lock():
            if found := self._find_round(experiment_id, round_key):
                return str(found.info.run_id)
            tags = {"mlflow.runName": round_key, "perseid.round": round_key}
            return str(self._client.create_run(experiment_id, tags=tags).info.run_id)

    def _find_round(self, experiment_id: str, round_key: str) -> "Run | None":
        runs = self._client.search_runs([experiment_id], f"tags.`perseid.round` = '{round_key}'", max_results=1)
        return runs[0] if runs else None

    def _ensure_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # it exists
            self._client.create_registered_model(model)

    def _registered(self, model: str, version: str) -> str | None:
        found = self._client.search_model_versions(f"name = '{model}' and tags.`data_version` = '{version}'")
        return str(found[0].version) if found else None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def tracking_of(places: Places) -> MlflowTracking:
    """With links to where `make ui` serves the two user interfaces, if not at their usual ports."""
    named = {"ui": os.environ.get("PERSEID_MLFLOW_URL"), "dagster_ui": os.environ.get("PERSEID_DAGSTER_URL")}
    return MlflowTracking(folder=str(places.mlflow), **{name: url for name, url in named.items() if url})


def write_metrics(client: "MlflowClient", run_id: str, points: Sequence[tuple[str, int, float]]) -> None:
    from mlflow.entities import Metric

    now_ms = int(time.time() * 1000)
    metrics = [Metric(metric_name(name), value, now_ms, step) for name, step, value in points]
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + BATCH])
