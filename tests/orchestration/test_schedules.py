"""What a tick asks for, on a real instance and a real store; artifacts are published without being computed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.freshness import input_versions, units
from assets.graph import Graph, Node, unroll
from orchestration.code_location import definitions
from orchestration.evolve import hold
from orchestration.places import Places
from orchestration.resources import resources
from orchestration.schedules import EVOLVE_TAG, EXPERIMENT_TAG, runnable
from perseid.artifacts import Store
from perseid.experiment import Experiment, load_experiment

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "shards": 2,
        "rounds": [{}, {}],
    }
)
GRAPH = unroll(EXPERIMENT)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
REST = ["evaluation", "pairs", "policy", "ppm", "verified"]
Asked = str | list[tuple[str | None, list[str]]]
FIRST: Asked = [(None, ["evaluation", "policy", "problems"])]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.of(tmp_path)


def publish(places: Places, wanted: Graph, until: str) -> None:
    """Publish everything before the artifact `until`, in order."""
    store = Store(places.root)
    for unit in units(wanted):
        if unit.key == until:
            return
        versions = input_versions(wanted, unit.node, store)
        assert versions is not None
        with store.draft(unit.key) as draft:
            draft.path("content").write_text(unit.key)
            draft.publish(unit.node.code_version, versions)


def tick(instance: dg.DagsterInstance, places: Places, experiment: Experiment = EXPERIMENT) -> Asked:
    """The reason to skip, or (shard, assets) of every run asked for."""
    defs = definitions([experiment], resources(places), places)
    schedule = defs.resolve_schedule_def("x__next_round")
    with dg.build_schedule_context(instance, NOW, repository_def=defs.get_repository_def()) as context:
        found = schedule.evaluate_tick(context)
    if not found.run_requests:
        return found.skip_message
    return [(r.partition_key, sorted(key.path[-1] for key in r.asset_selection)) for r in found.run_requests]


STEPS = ("problems", "round_01/pool", "round_01/trajectories/000", "round_01/trajectories/001", "round_01/verified")
NEXT = ("round_02/trajectories/000", "")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asked]:
    """What a tick asked for while one experiment went on, by the artifact that came next; at the end, of a new seed."""
    places, found = Places.of(tmp_path_factory.mktemp("root")), dict[str, Asked]()
    with dg.instance_for_test() as instance:
        for step in (*STEPS, *NEXT):
            publish(places, GRAPH, step and f"x/{step}")
            found[step] = tick(instance, places)
        found["another seed"] = tick(instance, places, EXPERIMENT.model_copy(update={"seed": 1}))
    return found


def test_at_first_it_asks_for_the_problems_and_the_base(asked: dict[str, Asked]) -> None:
    assert asked["problems"] == FIRST


def test_then_for_the_pool_that_the_shards_wait_for(asked: dict[str, Asked]) -> None:
    assert asked["round_01/pool"] == [(None, ["pool"])]


def test_only_what_can_run_is_asked_for_with_several_sharded_stages_in_a_round() -> None:
    """Two sharded stages in a row, and a branch that waits for neither."""
    shards = ("000", "001")
    graph = {
        node.key: node
        for node in (
            stage("pool"),
            stage("trajectories", "pool", shards=shards),
            stage("judged", "pool", "trajectories", shards=shards),
            stage("verified", "judged"),
            stage("control", "pool"),
            stage("evaluation", "control", "verified"),
        )
    }
    searched = {f"x/round_01/trajectories/{shard}" for shard in shards}
    judged = {f"x/round_01/judged/{shard}" for shard in shards}

    def wanted(*fresh: str) -> list[str]:
        missing = [unit for unit in units(graph) if unit.key not in fresh]
        return [unit.key.removeprefix("x/round_01/") for unit in runnable(graph, missing, set(fresh))]

    pool, control = "x/round_01/pool", "x/round_01/control"
    assert wanted() == ["pool", "control"]
    assert wanted(pool, control) == ["trajectories/000", "trajectories/001"]
    assert wanted(pool, control, "x/round_01/trajectories/001") == ["trajectories/000"]
    assert wanted(pool, control, *searched) == ["judged/000", "judged/001"]
    assert wanted(pool, *searched, *judged) == ["verified", "control", "evaluation"]


def stage(name: str, *inputs: str, shards: tuple[str, ...] = ()) -> Node:
    keys = tuple(f"x/round_01/{key}" for key in inputs)
    return Node("x", name, 1, does=name, reads=(), uses=(), roles={"above": keys}, code_version="code", shards=shards)


def test_then_for_one_run_a_shard(asked: dict[str, Asked]) -> None:
    assert asked["round_01/trajectories/000"] == [("000", ["trajectories"]), ("001", ["trajectories"])]


def test_for_the_missing_shards_only(asked: dict[str, Asked]) -> None:
    assert asked["round_01/trajectories/001"] == [("001", ["trajectories"])]


def test_and_when_all_shards_are_there_for_the_rest_of_the_round(asked: dict[str, Asked]) -> None:
    assert asked["round_01/verified"] == [(None, REST)]


def test_the_next_round_follows(asked: dict[str, Asked]) -> None:
    assert asked["round_02/trajectories/000"] == [("000", ["trajectories"]), ("001", ["trajectories"])]


def test_a_complete_experiment_is_skipped_with_its_reason(asked: dict[str, Asked]) -> None:
    assert asked[""] == "x is complete: round 2 of 2 is evaluated"


def test_a_changed_setting_is_caught_up_with(asked: dict[str, Asked]) -> None:
    assert asked["another seed"] == FIRST


def test_a_run_from_the_ui_counts_as_active_by_its_assets(instance: dg.DagsterInstance, places: Places) -> None:
    run = start(instance, {}, "x")
    assert tick(instance, places) == f"x is in progress: run {run.run_id} is STARTED"


def test_a_run_of_another_experiment_does_not_count(instance: dg.DagsterInstance, places: Places) -> None:
    start(instance, {}, "y")
    assert tick(instance, places) == FIRST


def test_an_evolve_counts_while_it_lives(instance: dg.DagsterInstance, places: Places) -> None:
    start(instance, {EXPERIMENT_TAG: "x", EVOLVE_TAG: "host:1"}, "x")
    with places.evolving("x"):
        assert tick(instance, places) == "x is in progress: an evolve is running"
    assert tick(instance, places) == FIRST


def test_a_file_whose_name_another_file_holds_is_skipped_with_its_reason_and_the_holder_is_not(
    instance: dg.DagsterInstance, places: Places, tmp_path: Path
) -> None:
    mine, other = (written(tmp_path / f"{name}.yaml", rollouts) for name, rollouts in (("a", 4), ("b", 5)))
    hold(mine, Store(places.root))
    reason = tick(instance, places, other)
    assert isinstance(reason, str)
    assert reason.startswith(f"{other.file}: name: 'x' is the experiment of {mine.file} in {places.root}; expected")
    assert tick(instance, places, mine) == FIRST


def written(path: Path, rollouts: int) -> Experiment:
    settings = {**EXPERIMENT.model_dump(mode="json", exclude_unset=True), "method": {"rollouts": rollouts}}
    path.write_text(json.dumps(settings))
    return load_experiment(path)


def start(instance: dg.DagsterInstance, tags: dict[str, str], experiment: str) -> dg.DagsterRun:
    """A run as the UI records it: of some assets, without a tag of ours."""
    chosen = frozenset({dg.AssetKey([experiment, "round_01", "policy"])})
    run = dg.DagsterRun("__ASSET_JOB", asset_selection=chosen, status=dg.DagsterRunStatus.STARTED, tags=tags)
    return instance.add_run(run)
