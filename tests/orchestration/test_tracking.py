"""Against a real MLflow on a SQLite file."""

from pathlib import Path

import pytest

from orchestration.tracking import MlflowTracking, metric_name

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracking:
    return MlflowTracking(folder=str(tmp_path_factory.mktemp("mlflow")))


def test_attempts_of_a_round_are_children_of_one_run_and_carry_the_link_to_dagster(tracking: MlflowTracking) -> None:
    with tracking.attempt("x/round_01", "x/round_01/policy", {"dagster.run_id": "abc"}) as first:
        first.metrics({"pass@1": 0.5})
        first.curve("loss", [(0, 2.0), (10, 1.0)])
        first.picture("loss", PNG)
        first.tag({"data_version": "0123456789abcdef"})
    with tracking.attempt("x/round_01", "x/round_01/ppm", {}) as second:
        pass
    runs = [tracking._client.get_run(attempt.run_id) for attempt in (first, second)]
    parents = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert len(parents) == 1
    assert tracking._client.get_run(parents.pop()).data.tags["perseid.round"] == "x/round_01"
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert runs[0].data.metrics == {"pass_at_1": 0.5, "loss": 1.0}
    assert runs[0].data.tags["dagster.url"] == "http://127.0.0.1:3000/runs/abc"
    history = tracking._client.get_metric_history(first.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 2.0), (10, 1.0)]
    assert [file.path for file in tracking._client.list_artifacts(first.run_id, "plots")] == ["plots/loss.png"]
    assert first.url.endswith(f"/runs/{first.run_id}")


def test_settings_are_params_whatever_their_names_length_and_number_and_may_be_written_again(
    tracking: MlflowTracking,
) -> None:
    many = {f"search.rollouts.{number}": str(number) for number in range(250)}
    odd = {"pool[0]@x": "", "../up": "1", "long": "a" * 7000, "é" * 300: "2"}
    with tracking.attempt("x/round_01", "x/round_01/pairs", {}) as attempt:
        attempt.params(many | odd)
        attempt.params(many | {"search.rollouts.0": "other"})
    params = tracking._client.get_run(attempt.run_id).data.params
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
    assert tracking._client.get_run(attempt.run_id).info.status == "FAILED"


def test_rounds_do_not_mix_and_a_closed_round_is_found_again(tracking: MlflowTracking) -> None:
    one, two = tracking._round_run("x/round_03"), tracking._round_run("x/round_04")
    assert one != two
    tracking.close_round("x/round_03", {"pass@1": 0.25})
    run = tracking._client.get_run(tracking._round_run("x/round_03"))
    assert (run.info.run_id, run.info.status, run.data.metrics) == (one, "FINISHED", {"pass_at_1": 0.25})


def test_a_data_version_is_registered_once_and_aliases_move(tracking: MlflowTracking, tmp_path: Path) -> None:
    first = tracking.register("x-policy", tmp_path, "a" * 16, {"round": "0"}, run_id="")
    again = tracking.register("x-policy", tmp_path, "a" * 16, {"round": "0"}, run_id="")
    second = tracking.register("x-policy", tmp_path, "b" * 16, {"round": "1"}, run_id="")
    assert (first, again, second) == ("1", "1", "2")
    for alias in ("round-01", "candidate", "champion"):
        tracking.alias("x-policy", alias, "b" * 16)
    tracking.alias("x-policy", "champion", "a" * 16)
    version = tracking._client.get_model_version_by_alias
    assert version("x-policy", "champion").tags == {"data_version": "a" * 16, "round": "0"}
    assert version("x-policy", "candidate").tags == {"data_version": "b" * 16, "round": "1"}
    with pytest.raises(LookupError, match="no registered version has the data version c"):
        tracking.alias("x-policy", "champion", "c" * 16)


def test_artifacts_lie_in_the_folder_and_not_below_the_current_directory(tracking: MlflowTracking) -> None:
    experiment = tracking._client.get_experiment(tracking.experiment_id("x"))
    assert experiment.artifact_location == (Path(tracking.folder) / "artifacts" / "x").as_uri()


def test_mlflow_takes_the_names_that_it_would_refuse() -> None:
    assert metric_name("ppm_best@8") == "ppm_best_at_8"
