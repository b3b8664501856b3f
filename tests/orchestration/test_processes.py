"""Several processes on one root: started at once, beside each other, or killed again and again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from mlflow import MlflowClient

from assets.freshness import survey, units
from assets.graph import unroll
from assets.registry import model_name
from orchestration import follow
from orchestration.instance import create_instance
from orchestration.places import EXPERIMENTS, Places, sqlite_uri
from orchestration.tracking import MlflowTracking
from perseid import gate
from perseid.artifacts import Store
from perseid.artifacts.disk import hidden_folder
from perseid.check import check
from perseid.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[2]
SMOKE = (EXPERIMENTS / "smoke.yaml").read_text()
EXPERIMENT = load_experiment(EXPERIMENTS / "smoke.yaml")
GRAPH = unroll(EXPERIMENT)
KILLS = 6

pytestmark = pytest.mark.slow


def started(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
    inherited = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "PERSEID_ROOT")}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**inherited, "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, errors = process.communicate(timeout=900)
    return process.returncode, errors or output


@pytest.mark.parametrize("attempt", range(3))
def test_two_experiments_may_be_started_at_once_on_a_fresh_root(tmp_path: Path, attempt: int) -> None:
    root, files = tmp_path / "root", []
    for name in ("one", "two"):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(SMOKE.replace("name: smoke", f"name: {name}"))
    runs = [started("orchestration", "evolve", str(file), "--rounds", "0", "--root", str(root)) for file in files]
    outcomes = [ended(run) for run in runs]
    assert [status for status, _ in outcomes] == [0, 0], outcomes
    assert check(Store(root)).faults == []
    assert {key.split("/")[0] for key in Store(root).keys()} == {"one", "two"}  # noqa: SIM118 it is no mapping


def test_making_the_databases_leaves_what_another_process_writes_beside_them(tmp_path: Path) -> None:
    places = Places.of(tmp_path)
    places.prepare()
    with hidden_folder(places.dagster) as dagster, hidden_folder(places.mlflow) as mlflow:
        create_instance(places)
        assert MlflowTracking(folder=str(places.mlflow)).link.tell(lambda client: client.search_experiments())
        assert dagster.is_dir()
        assert mlflow.is_dir()


def test_what_another_process_makes_is_refused_in_one_line_that_says_who(tmp_path: Path) -> None:
    places = Places.of(tmp_path)
    places.prepare()
    who = f"smoke/problems: in progress in process {os.getpid()} of "
    with Store(tmp_path).lease("smoke/problems"):
        status, errors = ended(started("orchestration", "evolve", "smoke", "--root", str(tmp_path)))
        assert (status, errors.count("\n"), who in errors) == (2, 1, True), errors
        asked = ("dagster", "asset", "materialize", "-m", "orchestration.definitions", "--select", "smoke/problems")
        home = {"DAGSTER_HOME": str(places.dagster), "PERSEID_ROOT": str(tmp_path)}
        status, errors = ended(started(*asked, **home))
        assert status != 0
        assert who in errors
    assert Store(tmp_path).current("smoke/problems") is None


def test_after_kills_at_any_moment_all_stores_agree(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    command = ("orchestration", "evolve", "smoke", "--root", str(tmp_path))
    for _ in range(KILLS):
        run = started(*command)
        time.sleep(moments.uniform(1.0, 40.0))
        os.killpg(run.pid, signal.SIGKILL)
        ended(run)
    assert ended(started(*command))[0] == 0, f"seed {seed}"
    agree(tmp_path)


def agree(root: Path) -> None:
    """The gate, MLflow and Dagster say what the store says, and nothing is left that looks alive."""
    store, places = Store(root), Places.of(root)
    state = survey(GRAPH, store)
    versions = {key: manifest.version for key, manifest in state.items() if manifest is not None}
    assert set(versions) == set(state)
    assert check(store).faults == []
    assert not [path for path in (root / "smoke").rglob(".*") if path.name not in (".leases",)]
    told_by_dagster(places, versions)
    told_by_mlflow(places, versions)
    judged = {(event.key, event.version) for event in gate.state(store, "smoke").history}
    assert {(key, version) for key, version in versions.items() if key.endswith("/policy")} <= judged


def told_by_dagster(places: Places, versions: dict[str, str]) -> None:
    with dg.DagsterInstance.from_config(str(places.dagster)) as instance:
        assert {unit.key: follow.known(instance, unit) for unit in units(GRAPH)} == versions
        assert {run.status.value for run in instance.get_runs()} <= {"SUCCESS", "FAILURE", "CANCELED"}


def told_by_mlflow(places: Places, versions: dict[str, str]) -> None:
    client = MlflowClient(sqlite_uri(places.mlflow / "mlflow.db"))
    experiment = client.get_experiment_by_name("smoke")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED", "KILLED"}
    for stage in ("policy", "ppm"):
        keys = {key: version for key, version in versions.items() if key.endswith(f"/{stage}")}
        named = {f"round-{key.split('/')[1].removeprefix('round_')}": version for key, version in keys.items()}
        assert {alias: version_named(client, stage, alias) for alias in named} == named
    champion = gate.champion(Store(places.root), "smoke")
    assert champion is not None
    assert version_named(client, "policy", "champion") == champion.version
    assert version_named(client, "policy", "candidate") in versions.values()


def version_named(client: MlflowClient, stage: str, alias: str) -> Any:
    return client.get_model_version_by_alias(model_name("smoke", stage), alias).tags["data_version"]
