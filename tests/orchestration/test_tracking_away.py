"""A store that is away, or that a user changed: nothing raises, and what was missed is caught up."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from assets.tracking import Account, Checkpoint
from orchestration.tracking import MlflowTracking

ROOT = Path(__file__).parents[2]
KEY, ROUND = "x/round_01/policy", "x/round_01"


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    """Of a store in which nothing stands yet."""
    (tmp_path / "mlflow.db").write_bytes(made.read_bytes())
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    assert MlflowTracking(folder=str(folder)).link.tell(lambda client: None)
    return folder / "mlflow.db"


def tracking_in(folder: Path) -> MlflowTracking:
    return MlflowTracking(folder=str(folder), wait_s=0.2, rest_s=0.0)


def client_of(folder: Path) -> MlflowClient:
    return tracking_in(folder).link.client


def aliases(client: MlflowClient) -> dict[str, str]:
    return {alias: str(number) for alias, number in client.get_registered_model("x-policy").aliases.items()}


def account(folder: Path, **rounds: dict[str, float]) -> Account:
    policy = Checkpoint("x-policy", folder, "a" * 16, {"round": "1"}, "")
    return Account("x", [policy], {"x-policy": {"round-01": "a" * 16, "champion": "a" * 16}}, rounds)


def tell_all(tracking: MlflowTracking) -> None:
    with tracking.attempt(ROUND, KEY, {"dagster.run_id": "abc"}) as attempt:
        attempt.params({"seed": "1"})
        attempt.metrics({"pass@1": 0.5})
        attempt.curve("loss", [(0, 2.0), (10, 1.0)])
        attempt.picture("loss", b"\x89PNG\r\n\x1a\n")
        attempt.tag({"data_version": "0" * 16})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        yield


@contextmanager
def damaged(folder: Path) -> Iterator[None]:
    whole = (folder / "mlflow.db").read_bytes()
    (folder / "mlflow.db").write_bytes(b"no database" * 1000)
    yield
    (folder / "mlflow.db").write_bytes(whole)


@contextmanager
def of_another_schema(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        (before,) = connection.execute("select version_num from alembic_version").fetchone()
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    yield
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("update alembic_version set version_num = ?", (before,))


@pytest.mark.slow
@pytest.mark.parametrize("away", [locked, damaged, of_another_schema])
def test_an_attempt_while_the_store_is_away_is_written_later_as_if_it_had_not_been(
    folder: Path, caplog: pytest.LogCaptureFixture, away: object
) -> None:
    tracking = tracking_in(folder)
    with caplog.at_level(logging.WARNING), away(folder):  # type: ignore[operator]
        tell_all(tracking)
        assert tracking.register(account(folder).checkpoints[0]) == ""
        tracking.alias("x-policy", "champion", "a" * 16)
        tracking.close_round(ROUND, {})
        tracking.agree(account(folder))
    assert [str(folder / "mlflow.db") in line for line in caplog.messages] == [True]
    assert len(tracking.missed()) == 1
    tracking.agree(account(folder, **{ROUND: {"pass@1": 0.5}}))
    assert tracking.missed() == []
    client = client_of(folder)
    (experiment,) = [e for e in client.search_experiments() if e.name == "x"]
    parent, run = sorted(client.search_runs([experiment.experiment_id]), key=lambda run: "perseid.of" in run.data.tags)
    assert (run.data.params, run.data.metrics) == ({"seed": "1"}, {"pass_at_1": 0.5, "loss": 1.0})
    assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", parent.info.run_id)
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == ["plots/loss.png"]
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"pass_at_1": 0.5})
    assert aliases(client) == {"round-01": "1", "champion": "1"}


def test_a_store_that_goes_away_amid_an_attempt_leaves_one_run(folder: Path) -> None:
    tracking = tracking_in(folder)
    with tracking.attempt(ROUND, KEY, {}) as attempt:
        attempt.metrics({"a": 1.0})
        with locked(folder):
            attempt.metrics({"b": 2.0})
        first = attempt.run_id
        with locked(folder):
            attempt.params({"c": "3"})
            waiting = [kind for kind, _ in attempt.record.pending]
    assert waiting == ["points", "params"]
    run = client_of(folder).get_run(first)
    assert (run.data.metrics, run.data.params, run.info.status) == ({"a": 1.0, "b": 2.0}, {"c": "3"}, "FINISHED")
    assert tracking.missed() == []


@pytest.mark.slow
def test_a_record_that_is_refused_holds_up_no_other(folder: Path) -> None:
    tracking = tracking_in(folder)
    with locked(folder):
        for _ in range(2):
            tell_all(tracking)
    first, _ = tracking.missed()
    first.write_text(first.read_text().replace('"params"', '"nonsense"'))
    tracking.deliver()
    tracking.deliver()
    assert tracking.missed() == []
    assert [path.suffix for path in sorted((folder / "missed").iterdir())] == [".refused"]


def test_a_deleted_experiment_run_model_alias_and_a_renamed_experiment_are_mended(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracking, client = tracking_in(folder), client_of(folder)
    tell_all(tracking)
    tracking.agree(account(folder))
    experiment = client.get_experiment_by_name("x").experiment_id
    parent = tracking._round_run(client, ROUND).info.run_id

    with caplog.at_level(logging.WARNING):
        client.delete_experiment(experiment)
        tell_all(tracking)
        client.delete_run(parent)
        tell_all(tracking)
    assert [line.rpartition("; ")[2] for line in caplog.messages] == ["it is restored", "it is restored"]
    client.rename_experiment(experiment, "mine")
    tell_all(tracking)
    client.delete_registered_model_alias("x-policy", "champion")
    tracking.agree(account(folder))
    assert aliases(client) == {"round-01": "1", "champion": "1"}
    client.delete_model_version("x-policy", "1")
    tracking.agree(account(folder))
    assert aliases(client) == {"round-01": "2", "champion": "2"}
    client.delete_registered_model("x-policy")
    tracking.agree(account(folder))

    assert [e.experiment_id for e in client.search_experiments() if e.name != "Default"] == [experiment]
    assert len(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")) == 4
    assert aliases(client) == {"round-01": "1", "champion": "1"}


@pytest.mark.slow
def test_runs_of_dead_attempts_are_ended_and_those_of_the_living_are_not(folder: Path) -> None:
    tracking, client = tracking_in(folder), client_of(folder)
    code = (
        "import os\nfrom orchestration.tracking import MlflowTracking\n"
        f"with MlflowTracking(folder={str(folder)!r}).attempt({ROUND!r}, {KEY!r}, {{}}) as attempt:\n"
        "    print(attempt.run_id, flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -9, killed.stderr
    with tracking.attempt(ROUND, KEY, {}) as alive:
        tracking.agree(account(folder))
        statuses = [client.get_run(run_id).info.status for run_id in (killed.stdout.strip(), alive.run_id)]
    assert statuses == ["KILLED", "RUNNING"]


def test_to_agree_again_asks_nothing_unless_the_database_has_changed(folder: Path) -> None:
    tracking = tracking_in(folder)
    tracking.agree(account(folder))
    assert tracking._agreed(account(folder))
    assert not tracking._agreed(account(folder, **{ROUND: {}}))
    client_of(folder).delete_registered_model("x-policy")
    assert not tracking._agreed(account(folder))


def test_a_record_that_cannot_be_read_holds_up_no_other(folder: Path) -> None:
    with locked(folder):
        tell_all(tracking_in(folder))
    (folder / "missed" / "0-damaged.json").write_text("{")
    tracking = tracking_in(folder)
    for _ in range(2):
        tracking.deliver()
    assert tracking.missed() == []
    assert [path.name for path in (folder / "missed").iterdir()] == ["0-damaged.refused"]
