"""Experiment tracking by MLflow: a parent run a round, a child run an attempt, registered versions with aliases.

On `MlflowClient` alone: the fluent interface keeps a global active run, which mixes rounds into one. The store is a
SQLite file with an explicit artifact folder (without one, artifacts land below the current directory). Many processes
may write; steps that search and then create (an experiment, a round's run, a registered version) hold a file lock.
What a user deletes in MLflow is restored, or made anew where it is gone for good.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.tracking import Account, Checkpoint
from orchestration.dead_runs import sign
from orchestration.export import exported
from orchestration.mlflow_link import MISSED, Link, link_to, writable
from orchestration.places import Places
from orchestration.records import ATTEMPT, Record, Writer, metric_name, now_ms
from perseid.artifacts.disk import content_of, replace_file
from perseid.artifacts.owners import me, owner_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

SUCCESS, FAILURE, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # opens on its runs, not on traces of agents
EXPERIMENT, ROUND, PROCESS = "perseid.experiment", "perseid.round", "perseid.process"
MANY = 1000  # runs a page


def experiment_of(round_key: str) -> str:
    return round_key.split("/")[0]


class MlflowAttempt:
    """A child run being written, at once where MLflow can be reached, else at the end into a file."""

    def __init__(self, tracking: "MlflowTracking", record: Record) -> None:
        self.tracking, self.record, self.url = tracking, record, tracking.ui
        self._flush()

    @property
    def run_id(self) -> str:
        return self.record.run_id

    def tag(self, tags: Mapping[str, str]) -> None:
        self._write("tag", dict(tags))

    def params(self, values: Mapping[str, str]) -> None:
        self._write("params", dict(values))

    def metrics(self, values: Mapping[str, float]) -> None:
        self._write("points", [(name, 0, value, now_ms()) for name, value in values.items()])

    def curve(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        self._write("points", [(name, step, value, now_ms()) for step, value in points])

    def picture(self, name: str, png: bytes) -> None:
        self._write("picture", (name, base64.b64encode(png).decode()))

    def end(self, status: str) -> None:
        self._write("end", (status, now_ms()))
        if self.record.pending:
            self.tracking.keep(self.record)

    def _write(self, kind: str, value: object) -> None:
        self.record.add(kind, value)
        self._flush()

    def _flush(self) -> None:
        def flush(client: "MlflowClient") -> None:
            if not self.record.run_id:
                self.record.run_id = self.tracking.run_of(client, self.record)
            self.record.write(client)

        if self.tracking.link.tell(flush):
            self.url = self.tracking.url_of(self.record)


class MlflowTracking(dg.ConfigurableResource["MlflowTracking"]):
    """The `tracking` resource.

    folder: where `mlflow.db`, the artifacts, the locks and what was missed lie.
    ui: address under which `make ui` serves MLflow, for links. dagster_ui: the same of Dagster.
    wait_s: for a lock of another process. rest_s: after a failure, before the store is tried again.
    """

    folder: str
    ui: str = "http://127.0.0.1:5000"
    dagster_ui: str = "http://127.0.0.1:3000"
    wait_s: float = 10.0
    rest_s: float = 60.0

    @property
    def link(self) -> Link:
        return link_to(Path(self.folder).resolve(), self.wait_s, self.rest_s)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """A run signs with its process, so that it can be found if that dies."""
        with suppress(Exception):  # a record too
            if context.run is not None and context.instance is not None:
                sign(context.instance, context.run.run_id)

    @contextmanager
    def attempt(self, round_key: str, asset: str, tags: Mapping[str, str]) -> Iterator[MlflowAttempt]:
        self.deliver()
        own = {"mlflow.runName": asset, "perseid.asset": asset, "perseid.of": round_key, PROCESS: str(me())}
        if dagster_run := tags.get("dagster.run_id"):
            own["dagster.url"] = f"{self.dagster_ui}/runs/{dagster_run}"
        attempt, status = MlflowAttempt(self, Record(round_key, asset, {**own, **tags})), FAILURE
        try:
            yield attempt
            status = SUCCESS
        finally:
            attempt.end(status)

    def register(self, checkpoint: Checkpoint) -> str:
        return self.link.ask(lambda client: self._register(client, checkpoint), "")

    def alias(self, model: str, alias: str, version: str) -> None:
        self.link.tell(lambda client: self._alias(client, model, alias, version))

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        self.link.tell(lambda client: self._close(client, round_key, metrics))

    def agree(self, account: Account) -> None:
        if self._agreed(account) or not (account.rounds or account.checkpoints or self.link.database.exists()):
            return
        self.deliver()
        if self.link.tell(lambda client: self._agree(client, account)) and not self.missed():
            self._note(account)

    def run_of(self, client: "MlflowClient", record: Record) -> str:
        """The run of an attempt, made if there is none."""
        experiment_id = self.experiment_id(client, experiment_of(record.round_key))
        found = client.search_runs([experiment_id], f"tags.`{ATTEMPT}` = '{record.attempt}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        parent = self._round_run(client, record.round_key)
        if parent.info.status != RUNNING:
            client.update_run(parent.info.run_id, status=RUNNING)
        tags = {**record.tags, "mlflow.parentRunId": parent.info.run_id, ATTEMPT: record.attempt}
        return str(client.create_run(experiment_id, start_time=record.started_ms, tags=tags).info.run_id)

    def url_of(self, record: Record) -> str:
        experiment = self.link.ask(lambda client: client.get_run(record.run_id).info.experiment_id, "")
        return f"{self.ui}/#/experiments/{experiment}/runs/{record.run_id}"

    def missed(self) -> list[Path]:
        """The files of records that could not be written, oldest first."""
        return sorted((self.link.folder / MISSED).glob("*.json"))

    def keep(self, record: Record) -> None:
        try:
            record.keep(self.link.folder / MISSED)
        except OSError as error:  # the same disk that refused MLflow
            self.link.say(f"the record of {record.asset} is lost, it can be kept nowhere ({error})")

    def deliver(self) -> None:
        """Write the records that were missed, as far as they can be now."""
        if self.missed():
            self.link.tell(self._deliver)

    def experiment_id(self, client: "MlflowClient", name: str) -> str:
        """Of the MLflow experiment of an experiment of ours, which may have another name there by now."""
        with self.link.lock():
            found = client.get_experiment_by_name(name) or self._renamed(client, name)
            if found is None:
                artifacts = (self.link.folder / "artifacts" / name).as_uri()
                return str(client.create_experiment(name, artifact_location=artifacts, tags=KIND | {EXPERIMENT: name}))
            if found.lifecycle_stage != "active":
                client.restore_experiment(found.experiment_id)
                self.link.say(f"the experiment {found.name} was deleted in MLflow; it is restored")
            return str(found.experiment_id)

    def _renamed(self, client: "MlflowClient", name: str) -> "Experiment | None":
        from mlflow.entities import ViewType

        return next(iter(client.search_experiments(ViewType.ALL, 1, f"tags.`{EXPERIMENT}` = '{name}'")), None)

    def _round_run(self, client: "MlflowClient", round_key: str) -> "Run":
        experiment_id = self.experiment_id(client, experiment_of(round_key))
        with self.link.lock():
            if found := self._find_round(client, experiment_id, round_key):
                return found
            return client.create_run(experiment_id, tags={"mlflow.runName": round_key, ROUND: round_key})

    def _find_round(self, client: "MlflowClient", experiment_id: str, round_key: str) -> "Run | None":
        from mlflow.entities import ViewType

        runs = client.search_runs([experiment_id], f"tags.`{ROUND}` = '{round_key}'", ViewType.ALL)
        active = [run for run in runs if run.info.lifecycle_stage == "active"]
        if runs and not active:
            client.restore_run(runs[0].info.run_id)
            self.link.say(f"the run of {round_key} was deleted in MLflow; it is restored")
        return next(iter(active or runs), None)

    def _close(self, client: "MlflowClient", round_key: str, metrics: Mapping[str, float]) -> None:
        run = self._round_run(client, round_key)
        if run.info.status != SUCCESS or not {metric_name(name) for name in metrics} <= set(run.data.metrics):
            Writer(client, run.info.run_id).points([(name, 0, value, now_ms()) for name, value in metrics.items()])
            client.set_terminated(run.info.run_id, SUCCESS)

    def _register(self, client: "MlflowClient", checkpoint: Checkpoint) -> str:
        with self.link.lock():
            self._ensure_model(client, checkpoint.model)
            if found := registered(client, checkpoint.model, checkpoint.version):
                return found
            made = client.create_model_version(
                checkpoint.model,
                exported(checkpoint, self.link.folder / "artifacts").as_uri(),
                run_id=checkpoint.run_id or None,
                tags={**checkpoint.tags, "data_version": checkpoint.version},
                await_creation_for=None,  # type: ignore[arg-type]  # None: do not wait, which its annotation leaves out
            )
            return str(made.version)

    def _ensure_model(self, client: "MlflowClient", model: str) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # it exists
            client.create_registered_model(model)

    def _alias(self, client: "MlflowClient", model: str, alias: str, version: str) -> None:
        """Raises `LookupError` when no registered version has that data version."""
        number = registered(client, model, version)
        if number is None:
            raise LookupError(f"{model}: no registered version has the data version {version}")
        if str(client.get_registered_model(model).aliases.get(alias)) != number:
            client.set_registered_model_alias(model, alias, number)

    def _deliver(self, client: "MlflowClient") -> None:
        """A record that MLflow refuses is set aside, so that it holds up no other."""
        count = 0
        with self.link.lock(".missed.lock"):
            for path in self.missed():
                try:
                    record = Record.kept(path)
                    record.run_id = self._living(client, record.run_id) or self.run_of(client, record)
                    record.write(client)
                except Exception:
                    writable(self.link.database, self.wait_s)  # else all of them wait
                    path.rename(path.with_suffix(".refused"))
                    raise
                path.unlink()
                count += 1
        self.link.say(f"{count} attempts that were missed are written now")

    def _living(self, client: "MlflowClient", run_id: str) -> str:
        """The run, restored if it was deleted; "" if it is gone."""
        from mlflow.exceptions import MlflowException

        try:
            if run_id and client.get_run(run_id).info.lifecycle_stage != "active":
                client.restore_run(run_id)
        except MlflowException:
            return ""
        return run_id

    def _agree(self, client: "MlflowClient", account: Account) -> None:
        self._end_the_dead(client, self.experiment_id(client, account.experiment))
        for checkpoint in account.checkpoints:
            self._register(client, checkpoint)
        for model, aliases in account.aliases.items():
            for alias, version in aliases.items():
                self._alias(client, model, alias, version)
        for round_key, metrics in account.rounds.items():
            self._close(client, round_key, metrics)

    def _end_the_dead(self, client: "MlflowClient", experiment_id: str) -> None:
        for run in client.search_runs([experiment_id], f"attributes.status = '{RUNNING}'", max_results=MANY):
            owner = owner_in(run.data.tags.get(PROCESS, ""))
            if owner is not None and owner.dead:
                client.set_terminated(run.info.run_id, KILLED)

    def _agreed(self, account: Account) -> bool:
        try:
            return content_of(self._stamp(account)) == self._state(account).encode() and not self.missed()
        except OSError:
            return False

    def _note(self, account: Account) -> None:
        with suppress(OSError):
            stamp = self._stamp(account)
            stamp.parent.mkdir(exist_ok=True)
            replace_file(stamp, self._state(account).encode())

    def _stamp(self, account: Account) -> Path:
        return self.link.folder / "agreed" / f"{account.experiment}.txt"

    def _state(self, account: Account) -> str:
        """Changes with what is to be said and with the database, whoever writes to it."""
        said = json.dumps(asdict(account), sort_keys=True, default=str)
        file = self.link.database.stat()
        return f"{hashlib.sha256(said.encode()).hexdigest()} {file.st_ino} {file.st_size} {file.st_mtime_ns}"


def registered(client: "MlflowClient", model: str, version: str) -> str | None:
    """The number of the version of `model` that has this data version."""
    found = client.search_model_versions(f"name = '{model}' and tags.`data_version` = '{version}'")
    return str(found[0].version) if found else None


def tracking_of(places: Places) -> MlflowTracking:
    """With links to where `make ui` serves the two user interfaces, if not at their usual ports."""
    named = {"ui": os.environ.get("PERSEID_MLFLOW_URL"), "dagster_ui": os.environ.get("PERSEID_DAGSTER_URL")}
    urls: dict[str, Any] = {name: url for name, url in named.items() if url}
    return MlflowTracking(folder=str(places.mlflow), **urls)
