"""What the UI and the daemon load."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.code_location import definitions
from orchestration.places import Places
from orchestration.resources import resources
from perseid.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "trl", "vllm", "mlflow", "matplotlib", "datasets", "accelerate", "sympy")
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"demonstrated": ["gcd"], "undemonstrated": ["lcm"]},
        "control": {},
        "shards": 2,
        "rounds": [{}, {"search": {"ppm": True}}],
    }
)


@pytest.fixture
def defs(tmp_path: Path) -> dg.Definitions:
    places = Places.of(tmp_path)
    return definitions([EXPERIMENT], resources(places), places)


def test_definitions_load_without_a_heavy_library() -> None:
    code = f"import sys, orchestration.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_are_loadable_and_every_asset_has_its_place(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    by_group: dict[str, list[str]] = {}
    for key in sorted(graph.get_all_asset_keys()):
        by_group.setdefault(graph.get(key).group_name, []).append(key.path[-1])
    a_round = ["evaluation", "pairs", "policy", "pool", "ppm", "trajectories", "verified"]
    assert by_group == {
        "x": ["problems"],
        "x__round_00": ["evaluation", "policy"],
        "x__round_01": ["control", *a_round],  # both rounds train alike, and share it
        "x__round_02": a_round,
    }


def test_shards_are_partitions_of_the_search_alone(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    partitioned = {
        key.to_user_string(): list(graph.get(key).partitions_def.get_partition_keys())
        for key in graph.get_all_asset_keys()
        if graph.get(key).partitions_def is not None
    }
    shards = ["000", "001"]
    assert partitioned == {"x/round_01/trajectories": shards, "x/round_02/trajectories": shards}


def test_every_asset_has_a_blocking_check_of_its_tables(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.asset_key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == graph.get_all_asset_keys()


def test_the_schedule_is_there_and_off(defs: dg.Definitions) -> None:
    schedule = defs.resolve_schedule_def("x__next_round")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
