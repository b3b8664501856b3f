"""The smoke experiment from its file to its champion, with real models, a real sandbox, Dagster and MLflow.

One whole run in a process of its own; a second one that must find everything fresh; and one that is killed again and
again and must end in the same data versions.
"""

import json
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

from assets.freshness import survey
from assets.graph import unroll
from orchestration.places import EXPERIMENTS, Places
from perseid.artifacts import Store
from perseid.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = load_experiment(EXPERIMENTS / "smoke.yaml")
GRAPH = unroll(EXPERIMENT)
KILLS = 4

pytestmark = pytest.mark.slow


def command(*arguments: str, root: Path) -> list[str]:
    return [sys.executable, "-m", "orchestration", *arguments, "--root", str(root)]


def environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "PERSEID_ROOT")}
    return {**own, "HF_HUB_OFFLINE": "1"}


def run(*arguments: str, root: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments, root=root), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900
    )


def json_of(*arguments: str, root: Path) -> Any:
    done = run(*arguments, "--json", root=root)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def versions(root: Path) -> dict[str, str | None]:
    found = {key: Store(root).current(key) for node in GRAPH.values() for key in node.artifacts}
    return {key: manifest.version if manifest else None for key, manifest in found.items()}


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a run that nothing disturbed."""
    root = tmp_path_factory.mktemp("evolved")
    done = run("evolve", "smoke", root=root)
    assert done.returncode == 0, done.stderr
    assert "Champion: smoke/round_0" in done.stdout
    return root


def test_everything_is_made_and_fresh(evolved: Path) -> None:
    assert [key for key, manifest in survey(GRAPH, Store(evolved)).items() if manifest is None] == []


def test_a_second_run_does_nothing_and_loads_nothing_heavy(evolved: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in evolved.rglob("manifest.json")}
    code = (
        "import sys\nfrom orchestration.cli import main\n"
        f"main(['evolve', 'smoke', '--root', {str(evolved)!r}])\n"
        "print([m for m in ('torch', 'transformers', 'mlflow', 'trl') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert "Everything is fresh" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert {path: path.stat().st_mtime_ns for path in evolved.rglob("manifest.json")} == before


def test_killed_at_any_moment_it_ends_in_the_same_data_versions(evolved: Path, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    for _ in range(KILLS):
        wait_s = moments.uniform(1.0, 25.0)
        process = subprocess.Popen(
            command("evolve", "smoke", root=tmp_path),
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    done = run("evolve", "smoke", root=tmp_path)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert versions(tmp_path) == versions(evolved), f"seed {seed}"
    assert [path for path in tmp_path.rglob(".tmp-*") if "round_" in str(path)] == []
    with dg.DagsterInstance.from_config(str(Places.of(tmp_path).dagster)) as instance:
        assert {run.status.value for run in instance.get_runs()} <= {"SUCCESS", "FAILURE"}


def test_status_has_the_shape_that_scripts_rely_on(evolved: Path) -> None:
    status = json_of("status", "smoke", root=evolved)
    assert list(status) == ["experiment", "champion", "rounds"]
    assert [list(r) for r in status["rounds"]] == [["round", "metrics", "artifacts", "tokens", "seconds"]] * 3
    assert [r["round"] for r in status["rounds"]] == [0, 1, 2]
    last = status["rounds"][-1]
    assert set(last["metrics"]["greedy_pass@1"]) == {"value", "low", "high", "n"}
    assert {
        "greedy_pass@1",
        "sampled_pass@4",
        "sampled_maj@4",
        "sampled_ppm_best@4",
        "mcts_pass@1",
        "greedy_delta_control",
    } <= set(last["metrics"])
    policy = versions(evolved)["smoke/round_02/policy"]
    assert last["artifacts"]["policy"] == {"version": policy, "fresh": True}
    assert status["champion"] in versions(evolved)


def test_another_setting_makes_stale_what_reads_it_and_nothing_else(evolved: Path, tmp_path: Path) -> None:
    changed = tmp_path / "smoke.yaml"
    changed.write_text((EXPERIMENTS / "smoke.yaml").read_text().replace("samples: 4,", "samples: 3,"))
    status = json_of("status", str(changed), root=evolved)
    stale = {(r["round"], stage) for r in status["rounds"] for stage, a in r["artifacts"].items() if not a["fresh"]}
    assert stale == {(0, "evaluation"), (1, "evaluation"), (2, "evaluation")}


def test_lineage_reaches_the_problems(evolved: Path) -> None:
    tree = json_of("lineage", "perseid://smoke/round_02/policy", root=evolved)
    keys: set[str] = set()
    level = [tree]
    while level:
        keys |= {ancestor["key"] for ancestor in level}
        level = [parent for ancestor in level for parent in ancestor["inputs"]]
    assert {"smoke/problems", "smoke/round_00/policy", "smoke/round_01/trajectories/001"} <= keys


def test_queries_answer_by_name_and_in_sql(evolved: Path) -> None:
    rows = json_of("query", "solved_by_round_and_facet", "--experiment", "smoke", root=evolved)
    assert {row["round"] for row in rows} == {1, 2}
    counted = json_of("query", "select count(*) as n from pools where split = 'held_out'", root=evolved)
    assert counted[0]["n"] == json_of("status", "smoke", root=evolved)["rounds"][0]["metrics"]["greedy_pass@1"]["n"]


def test_the_runs_are_on_the_instance_that_the_ui_serves(evolved: Path) -> None:
    with dg.DagsterInstance.from_config(str(Places.of(evolved).dagster)) as instance:
        runs = instance.get_runs()
        key = dg.AssetKey(["smoke", "round_02", "policy"])
        event = instance.get_latest_materialization_event(key)
        made = instance.get_materialized_partitions(dg.AssetKey(["smoke", "round_01", "trajectories"]))
    assert {run.status.value for run in runs} == {"SUCCESS"}
    assert made == {"000", "001"}
    assert event is not None
    materialization = event.asset_materialization
    assert materialization is not None
    assert materialization.tags is not None
    assert materialization.tags["dagster/data_version"] == versions(evolved)["smoke/round_02/policy"]
    assert "data:image/png;base64," in str(materialization.metadata["loss"].value)
    assert "/runs/" in str(materialization.metadata["MLflow run"].value)


def test_tracking_holds_a_run_a_round_and_a_child_an_asset_linked_both_ways(evolved: Path) -> None:
    client = MlflowClient(f"sqlite:///{Places.of(evolved).mlflow / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("smoke")
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    parents = {r.info.run_id: r.data.tags["perseid.round"] for r in runs if "perseid.round" in r.data.tags}
    assert sorted(parents.values()) == ["smoke", "smoke/round_00", "smoke/round_01", "smoke/round_02"]
    children = [r for r in runs if r.info.run_id not in parents]
    assert {r.data.tags["perseid.asset"] for r in children} == set(versions(evolved))
    for child in children:
        assert parents[child.data.tags["mlflow.parentRunId"]] == child.data.tags["perseid.of"]
        assert child.info.status == "FINISHED"
        assert child.data.tags["data_version"] == versions(evolved)[child.data.tags["perseid.asset"]]
        assert child.data.tags["dagster.run_id"]
    by_alias = client.get_model_version_by_alias("smoke-policy", "round-02")
    assert by_alias.tags["data_version"] == versions(evolved)["smoke/round_02/policy"]
    assert client.get_model_version_by_alias("smoke-policy", "candidate").version == by_alias.version


def test_promote_and_rollback_move_the_champion_and_its_alias(evolved: Path) -> None:
    client = MlflowClient(f"sqlite:///{Places.of(evolved).mlflow / 'mlflow.db'}")

    def champion() -> tuple[str, str]:
        named = client.get_model_version_by_alias("smoke-policy", "champion").tags["data_version"]
        return json_of("status", "smoke", root=evolved)["champion"], named

    before = champion()
    policy = versions(evolved)
    assert before[1] == policy[before[0]]
    assert run("promote", "smoke", "0", root=evolved).returncode == 0
    assert champion() == ("smoke/round_00/policy", policy["smoke/round_00/policy"])
    assert run("rollback", "smoke", root=evolved).returncode == 0
    assert champion() == before


def test_a_changed_checkpoint_is_one_error_that_names_the_file(evolved: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(evolved), str(root)], check=True)
    store = Store(root)
    manifest = store.current("smoke/round_01/policy")
    assert manifest is not None
    weights = store.folder(manifest, "model") / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(bytes(damaged))
    changed = tmp_path / "smoke.yaml"
    changed.write_text((EXPERIMENTS / "smoke.yaml").read_text().replace("samples: 4,", "samples: 3,"))
    done = run("evolve", str(changed), "--take-over", root=root)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(weights) in done.stderr
