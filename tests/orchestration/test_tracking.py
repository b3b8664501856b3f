"""Against a real MLflow on a SQLite file."""

from pathlib import Path

import pytest

from assets.tracking import Checkpoint
from orchestration.records import metric_name
from orchestration.tracking import MlflowTracking

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracking:
    return MlflowTracking(folder=str(tmp_path_factory.mktemp("mlflow")))


def round_run(tracking: MlflowTracking, round_key: str) -> str:
    return str(tracking._round_run(tracking.link.client, round_key).info.run_id)


def checkpoint(version: str, folder: Path, number: int = 0) -> Checkpoint:
    return Checkpoint("x-policy", folder, version, {"round": str(number)}, "")


def test_attempts_of_a_round_are_children_of_one_run_and_carry_the_link_to_dagster(tracking: MlflowTracking) -> None:
    with tracking.attempt("x/round_01", "x/round_01/policy", {"dagster.run_id": "abc"}) as first:
        first.metrics({"pass@1": 0.5})
        first.curve("loss", [(0, 2.0), (10, 1.0)])
        first.picture("loss", PNG)
        first.tag({"data_version": "0123456789abcdef"})
    with tracking.attempt("x/round_01", "x/round_01/ppm", {}) as second:
        pass
    runs = [tracking.link.client.get_run(attempt.run_id) for attempt in (first, second)]
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert len(parents) == 1
    assert tracking.link.client.get_run(parents.pop()).data.tags["perseid.round"] == "x/round_01"
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert runs[0].data.metrics == {"pass_at_1": 0.5, "loss": 1.0}
    assert runs[0].data.tags["dagster.url"] == "http://127.0.0.1:3000/runs/abc"
    history = tracking.link.client.get_metric_history(first.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 2.0), (10, 1.0)]
    assert [file.path for file in tracking.link.client.list_artifacts(first.run_id, "plots")] == ["plots/loss.png"]
    assert first.url.endswith(f"/runs/{first.run_id}")


def test_settings_are_params_whatever_their_names_length_and_number_and_may_be_written_again(
    tracking: MlflowTracking,
) -> None:
    many = {f"search.rollouts.{number}": str(number) for number in range(250)}
    odd = {"pool[0]@x": "", "../up": "1", "long": "a" * 7000, "é" * 300: "2"}
    with tracking.attempt("x/round_01", "x/round_01/pairs", {}) as attempt:
        attempt.params(many | odd)
        attempt.params(many | {"search.rollouts.0": "other"})
    params = tracking.link.client.get_run(attempt.run_id).data.params
    assert {name: params[name] for name in many} == many
    assert params["pool_0__x"] == ""
    assert params["up"] == "1"
    assert params["long"] == "a" * (6000 - len("… (cut)")) + "… (cut)"
    assert len(params) == len(many) + len(odd)


def test_an_exception_leaves_a_failed_run(tracking: MlflowTracking) -> None:
    with (
        pytest.raises(RuntimeError, match="boom"),
        tracking.attempt("x/round_02", "x/round_02/policy", {}) as attempt,
    ):
        raise RuntimeError("boom")
    assert tracking.link.client.get_run(attempt.run_id).info.status == "FAILED"


def test_rounds_do_not_mix_and_a_closed_round_is_found_again(tracking: MlflowTracking) -> None:
    one, two = round_run(tracking, "x/round_03"), round_run(tracking, "x/round_04")
    assert one != two
    tracking.close_round("x/round_03", {"pass@1": 0.25})
    run = tracking.link.client.get_run(round_run(tracking, "x/round_03"))
    assert (run.info.run_id, run.info.status, run.data.metrics) == (one, "FINISHED", {"pass_at_1": 0.25})


def test_a_data_version_is_registered_once_and_aliases_move(tracking: MlflowTracking, tmp_path: Path) -> None:
    first = tracking.register(checkpoint("a" * 16, tmp_path))
    again = tracking.register(checkpoint("a" * 16, tmp_path))
    second = tracking.register(checkpoint("b" * 16, tmp_path, 1))
    assert (first, again, second) == ("1", "1", "2")
    for alias in ("round-01", "candidate", "champion"):
        tracking.alias("x-policy", alias, "b" * 16)
    tracking.alias("x-policy", "champion", "a" * 16)
    version = tracking.link.client.get_model_version_by_alias
    assert version("x-policy", "champion").tags == {"data_version": "a" * 16, "round": "0"}
    assert version("x-policy", "candidate").tags == {"data_version": "b" * 16, "round": "1"}
    tracking.alias("x-policy", "champion", "c" * 16)  # nothing of that name is registered: said, not raised
    assert version("x-policy", "champion").tags["data_version"] == "a" * 16


def test_artifacts_lie_in_the_folder_and_not_below_the_current_directory(tracking: MlflowTracking) -> None:
    experiment = tracking.link.client.get_experiment(tracking.experiment_id(tracking.link.client, "x"))
    assert experiment.artifact_location == (Path(tracking.folder) / "artifacts" / "x").as_uri()


def test_mlflow_takes_the_names_that_it_would_refuse() -> None:
    assert metric_name("ppm_best@8") == "ppm_best_at_8"
