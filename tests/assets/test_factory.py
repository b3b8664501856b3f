"""What an attempt leaves for the UI and for tracking, and a definition run by Dagster with plain fakes."""

from typing import Any, cast

import dagster as dg
import polars as pl
import pytest

from assets.factory import SHOWN_ROWS, asset_key, asset_of, metadata, table_markdown, tell
from assets.work import Made, Plan, Work
from perseid.artifacts import Manifest, Store
from tests.assets.conftest import EXPERIMENT, GRAPH, FakeTracked, FakeTracking

MANIFEST = Manifest(
    key="x/round_01/policy",
    version="f" * 16,
    code_version="c" * 16,
    inputs={"x/problems": "a" * 16},
    roles={"problems": ("x/problems",)},
    row_counts={"examples": 4},
    files={},
    git_commit="",
    packages={},
    created="2026-01-01T00:00:00+00:00",
    wall_s=2.5,
    tokens=200,
)
MADE = Made(
    metrics={"loss": 1, "pass@1": 0.5},
    curves={"training_loss": [(10, 2.0)]},
    pictures={"curve": b"PNG"},
    tables={"sizes": pl.DataFrame({"family": ["gcd"], "problems": [3]})},
    notes={"decision": "keep"},
    tokens=200,
)


def test_tracking_is_told_what_was_measured_and_which_version_came_out() -> None:
    tracked, none = FakeTracked(), cast(Any, None)
    tell(Work(none, None, none, none, none, tracked, none, {}), MANIFEST, MADE)
    assert tracked.tags == {"data_version": "f" * 16, "code_version": "c" * 16}
    assert tracked.measured == {"loss": 1, "pass@1": 0.5, "wall_s": 2.5, "tokens": 200.0}
    assert tracked.curves == {"training_loss": [(10, 2.0)]}
    assert tracked.pictures == {"curve": b"PNG"}


def test_the_ui_shows_what_was_made_and_the_facts_of_its_making() -> None:
    assert metadata(MANIFEST, MADE, "http://tracking/run") == {
        "loss": dg.MetadataValue.float(1.0),
        "pass@1": dg.MetadataValue.float(0.5),
        "curve": dg.MetadataValue.md("![curve](data:image/png;base64,UE5H)"),
        "sizes": dg.MetadataValue.md("| family | problems |\n| --- | --- |\n| gcd | 3 |"),
        "decision": dg.MetadataValue.text("keep"),
        "artifact": dg.MetadataValue.text("perseid://x/round_01/policy"),
        "version": "f" * 16,
        "code version": "c" * 16,
        "inputs": dg.MetadataValue.json({"x/problems": "a" * 16}),
        "roles": dg.MetadataValue.json({"problems": ["x/problems"]}),
        "rows": dg.MetadataValue.json({"examples": 4}),
        "seconds": 2.5,
        "tokens": 200,
        "MLflow run": dg.MetadataValue.url("http://tracking/run"),
    }


@pytest.mark.parametrize(("rows", "last"), [(SHOWN_ROWS, f"| {SHOWN_ROWS - 1} |"), (SHOWN_ROWS + 2, "2 more rows")])
def test_a_table_longer_than_the_ui_shows_says_how_many_rows_are_not_there(rows: int, last: str) -> None:
    assert table_markdown(pl.DataFrame({"n": range(rows)})).splitlines()[-1] == last


def test_a_cell_breaks_no_table_whatever_stands_in_it() -> None:
    frame = pl.DataFrame({"text": ["a|b", "<b>\nx", "y" * 300], "number": [0.12345, 2.0, 3.0]})
    assert table_markdown(frame).splitlines()[2:] == [
        "| a\\|b | 0.123 |",
        "| &lt;b> ⏎ x | 2.000 |",
        f"| {'y' * 200} | 3.000 |",
    ]


def run(key: str, store: Store, tracking: FakeTracking, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    resources = {"store": store, "machines": None, "tracking": tracking, "reporter": lambda report: None}
    given: Any = {name: dg.ResourceDefinition.hardcoded_resource(value) for name, value in resources.items()}
    made = asset_of(Plan(EXPERIMENT, GRAPH, GRAPH[key]))
    return dg.materialize([made], resources=given, instance=instance, raise_on_error=False)


def test_a_run_publishes_what_its_maker_made_and_tells_dagster_and_tracking_of_the_same_version(store: Store) -> None:
    tracking = FakeTracking()
    with dg.DagsterInstance.ephemeral() as instance:
        early = run("x/round_01/pool", store, tracking, instance)
        assert not early.success
        assert tracking.attempts == {}
        for key in ("x/problems", "x/round_01/pool"):
            assert run(key, store, tracking, instance).success
        event = instance.get_latest_materialization_event(asset_key("x/round_01/pool"))
    manifest = store.current("x/round_01/pool")
    problems = store.current("x/problems")
    assert manifest is not None
    assert problems is not None
    assert event is not None
    assert event.asset_materialization is not None
    assert manifest.code_version == GRAPH["x/round_01/pool"].code_version
    assert dict(manifest.inputs) == {"x/problems": problems.version}
    assert dict(manifest.roles) == {"problems": ("x/problems",), "asked": ()}
    assert event.asset_materialization.metadata["version"].value == manifest.version
    assert (event.asset_materialization.tags or {})["dagster/data_version"] == manifest.version
    tracked = tracking.attempts["x/round_01", "x/round_01/pool"]
    assert (tracked.tags["data_version"], tracked.tags["attempt"]) == (manifest.version, "1")
    assert manifest.mlflow_run == tracked.run_id
    assert tracked.measured["problems"] == manifest.row_counts["problems"]
    assert set(tracking.rounds) == {"x"}  # the round of the problems is whole, that of the pool is not
