"""What an experiment would do, told before it does anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assets.freshness import Unit, input_versions, units
from assets.graph import Graph, unroll
from orchestration.places import EXPERIMENTS
from orchestration.plan import Most, Sizes, clock, planned, remarks, size, sizes_of, total
from perseid.artifacts import Facts, Store
from perseid.experiment import Experiment, load_experiment

ROOT = Path(__file__).parents[2]
SMOKE = load_experiment(EXPERIMENTS / "smoke.yaml")
SIZES = Sizes(held_out=36, pools={1: 24, 2: 24})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def bounds(experiment: Experiment, store: Store, sizes: Sizes = SIZES) -> dict[str, Most]:
    return {each.node.key.removeprefix("smoke/"): each.most for each in planned(experiment, store, sizes)}


def test_calls_and_tokens_are_bounds_of_the_settings(store: Store) -> None:
    """24 problems; 4 rollouts of 16 levels, 4 samples each, of 16 tokens. Of 36 held out, 4 samples and one greedy."""
    found = bounds(SMOKE, store)
    searched = 24 * 4 * 16 * 4
    assert found["round_01/trajectories"] == Most(24, searched, searched * 16, disk=2 * searched * 16)
    plain, search = 36 * (4 + 1), 4 * 2 * 3 * 16
    assert found["round_00/evaluation"] == Most(36, plain + 2 * search, plain * 96 + 2 * search * 16)
    plain = 36 * (4 + 2)
    assert found["round_01/evaluation"] == Most(36, plain + 2 * search, plain * 96 + 2 * search * 16)
    assert found["problems"] == Most(36)
    parameters = 500 * 64 + 2 * 13 * 64**2
    assert found["round_00/policy"] == Most(sequences=100 * 32, disk=4 * parameters)
    assert found["round_01/pairs"] == Most()


def test_a_round_is_planned_by_its_own_settings_and_a_limit_bounds_a_tree(store: Store) -> None:
    rounds = [{"pool": {"demonstrated": 1, "undemonstrated": 1}}, {"method": {"limit_tokens": 100}}]
    experiment = Experiment.model_validate({**SMOKE.model_dump(), "rounds": rounds})
    assert sizes_of(experiment) == Sizes(36, {1: 4, 2: 24})
    found = bounds(experiment, store)
    assert found["round_02/trajectories"].tokens == 24 * (100 + 4 * 16)


def publish(unit: Unit, graph: Graph, store: Store, facts: Facts) -> None:
    versions = input_versions(graph, unit.node, store)
    assert versions is not None
    with store.draft(unit.key) as draft:
        draft.path("content").write_text(unit.key)
        draft.publish(unit.node.code_version, versions, facts)


def test_the_base_s_seconds_are_not_those_of_a_training(store: Store) -> None:
    """A pretrained base is pointed to in seconds, and its fine-tuning takes hours."""
    graph = unroll(SMOKE)
    for unit in list(units(graph))[:2]:
        publish(unit, graph, store, Facts(wall_s=9.0))
    took = {each.node.key: each.took for each in planned(SMOKE, store, SIZES) if each.node.stage == "policy"}
    assert took == {
        "smoke/round_00/policy": (9.0, 0),
        "smoke/round_01/policy": None,
        "smoke/round_02/policy": None,
    }


def test_what_was_made_before_tells_the_seconds(store: Store) -> None:
    graph = unroll(SMOKE)
    wanted = list(units(graph))
    assert "no seconds: control, evaluation" in remarks(SMOKE, planned(SMOKE, store, SIZES))[-1]
    for number, unit in enumerate(wanted[:-1]):
        publish(unit, graph, store, Facts(wall_s=float(number + 1), tokens=number))
    found = planned(SMOKE, store, SIZES)
    assert [each.fresh for each in found] == [True] * (len(found) - 1) + [False]
    made = {unit.key: float(number + 1) for number, unit in enumerate(wanted)}
    shards = [made[f"smoke/round_01/trajectories/00{shard}"] for shard in range(2)]
    by_key = {each.node.key: each.took for each in found}
    assert by_key["smoke/round_01/trajectories"] is not None
    assert by_key["smoke/round_01/trajectories"][0] == sum(shards)
    before = made["smoke/round_01/evaluation"]
    assert by_key["smoke/round_02/evaluation"] == (before, int(before) - 1)
    assert remarks(SMOKE, found)[-1].startswith(f"1 of {len(found)} stages to make, about {clock(before)} as")


def test_sums_are_of_all_stages_and_of_the_disk_that_is_known() -> None:
    class Each:
        def __init__(self, most: Most) -> None:
            self.most = most

    both = total([Each(Most(1, 2, 3, 4, 5)), Each(Most(1, 20, 30, 40, None))])  # type: ignore[list-item]
    assert both == Most(0, 22, 33, 44, 5)


def test_sizes_and_times_are_told_in_their_units() -> None:
    assert [size(count) for count in (None, 0, 12, 2048, 3 * 2**20, 5 * 2**30)] == [
        *("?", "–", "12 B", "2.0 KiB", "3.0 MiB", "5.0 GiB")
    ]
    assert [clock(seconds) for seconds in (0.4, 61, 3661)] == ["0 min 00 s", "1 min 01 s", "1 h 01 min"]


def test_the_command_tells_it_without_a_library_of_models(tmp_path: Path) -> None:
    code = (
        "import sys; from orchestration.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print([name for name in ('torch', 'transformers', 'dagster', 'mlflow') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, "plan", "smoke", "--json", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told, _, heavy = done.stdout.rstrip().rpartition("\n")
    assert heavy == "[]"
    assert len(json.loads(told)["stages"]) == len(unroll(SMOKE))
