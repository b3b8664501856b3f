"""An attempt: what a maker is given, what it may not see, and what is left of it when it fails."""

import os
import time
from pathlib import Path
from typing import Any, cast

import dagster as dg
import polars as pl
import pytest

from assets.graph import Graph, hash_of, settings_of, unroll
from assets.work import Clock, Made, Plan, Report, Work, attempting, cpu_seconds, flat, present_inputs
from perseid.artifacts import Store, present
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment
from perseid.formats import TOOLS
from perseid.tables import columns_of, frame
from tests.assets.conftest import EXPERIMENT, GRAPH, Begin, FakeTracking, FakeTrainer, publish

ASKED = "{train: [{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}]}"
FILE = f"name: x\nproblems: {ASKED}\nshards: 2\nrounds: [{{}}]\n"


def attempt(plan: Plan, shard: str | None, store: Store, tracking: FakeTracking, reports: list[Report]) -> Any:
    machines = cast(Any, None)  # opened by makers alone
    return attempting(plan, shard, store, machines, tracking, reports.append, {"attempt": "2"})


def plan(key: str, experiment: Experiment = EXPERIMENT, graph: Graph = GRAPH) -> Plan:
    return Plan(experiment, graph, graph[key])


def asked(*questions: str) -> pl.DataFrame:
    return frame("problems", [(q, "tools", "number", q) for q in questions])


def test_an_attempt_is_tracked_in_its_round_with_its_settings_and_its_draft_is_seen_by_nobody(store: Store) -> None:
    tracking, reports = FakeTracking(), list[Report]()
    publish(store, "x/problems", {})
    with attempt(plan("x/round_01/pool"), None, store, tracking, reports) as work:
        tracked = tracking.attempts["x/round_01", "x/round_01/pool"]
        assert tracked.settings == flat(settings_of(EXPERIMENT, GRAPH["x/round_01/pool"]))
        assert (tracked.tags, tracked.ended) == ({"attempt": "2"}, "failed")
        assert work.tracked is tracked
        assert set(work.inputs) == {"x/problems"}
        work.draft.path("content").write_text("half")
        work.steps(3, 20)
    assert store.current("x/round_01/pool") is None
    assert tracked.ended == "finished"
    assert reports == [Report("x/round_01/pool", 3, 20, "steps")]


def test_an_attempt_that_fails_leaves_nothing_and_may_be_made_again(store: Store) -> None:
    publish(store, "x/problems", {})
    for _ in range(2):
        tracking, folders = FakeTracking(), list[Path]()
        failed = pytest.raises(RuntimeError, match="boom")
        with failed, attempt(plan("x/round_01/pool"), None, store, tracking, []) as work:
            folders.append(work.draft.folder)
            assert folders[0].is_dir()
            raise RuntimeError("boom")
        assert tracking.attempts["x/round_01", "x/round_01/pool"].ended == "failed"
        assert not folders[0].exists()


def test_an_input_that_is_not_there_is_named_and_no_retry_is_asked_for(store: Store) -> None:
    experiment = Experiment.model_validate({**EXPERIMENT.model_dump(), "shards": 2})
    graph, tracking = unroll(experiment), FakeTracking()
    publish(store, "x/round_01/pool", {})
    publish(store, "x/round_01/trajectories/001", {})
    verified = plan("x/round_01/verified", experiment, graph)
    with pytest.raises(dg.Failure) as found, attempt(verified, None, store, tracking, []):
        pass
    assert found.value.description == "x/round_01/verified: not made yet: x/round_01/trajectories/000"
    assert found.value.allow_retries is False
    assert tracking.attempts == {}


def test_one_key_is_made_by_one_attempt_at_a_time_and_shards_are_keys_of_their_own(store: Store) -> None:
    experiment = Experiment.model_validate({**EXPERIMENT.model_dump(), "shards": 2})
    searched = plan("x/round_01/trajectories", experiment, unroll(experiment))
    for key in ("x/round_01/pool", "x/round_00/policy"):
        publish(store, key, {})
    with attempt(searched, "000", store, FakeTracking(), []) as work:
        assert work.key == "x/round_01/trajectories/000"
        with attempt(searched, "001", store, FakeTracking(), []) as other:
            assert other.key == "x/round_01/trajectories/001"
        held = pytest.raises(UserError, match=f"process {os.getpid()}")
        with held, attempt(searched, "000", store, FakeTracking(), []):
            pass


def test_a_run_of_a_file_whose_name_another_file_holds_is_refused_and_makes_nothing(
    store: Store, tmp_path: Path
) -> None:
    """Runs that the UI starts come this way, and no other."""
    mine, other = (load_experiment(written(tmp_path / name, rollouts)) for name, rollouts in (("a", 4), ("b", 5)))
    tracking = FakeTracking()
    with attempt(plan("x/problems", mine, unroll(mine)), None, store, tracking, []):
        pass
    before = present.known(store.root, "x")
    assert before is not None
    assert before.file == str(mine.file)
    refused = pytest.raises(UserError, match=r"b\.yaml: name: 'x' is the experiment of .*a\.yaml in ")
    with refused, attempt(plan("x/problems", other, unroll(other)), None, store, FakeTracking(), []):
        pass
    assert present.known(store.root, "x") == before
    with attempt(plan("x/problems", mine, unroll(mine)), None, store, tracking, []):
        pass


def written(path: Path, rollouts: int) -> Path:
    path = path.with_suffix(".yaml")
    path.write_text(f"{FILE}method: {{rollouts: {rollouts}}}\n")
    return path


def test_a_maker_sees_nothing_of_the_experiment_but_what_its_stage_reads(store: Store, begin: Begin) -> None:
    work = begin("x/round_01/pool", FakeTrainer())
    assert (work.settings.seed, work.settings.problems.pool) == (EXPERIMENT.seed, EXPERIMENT.problems.pool)
    with pytest.raises(AttributeError):
        work.settings.method  # noqa: B018
    with pytest.raises(AssertionError, match="x/round_01/pool uses no format"):
        work.format  # noqa: B018
    assert begin("x/round_01/policy", FakeTrainer()).format is TOOLS


def test_inputs_are_found_by_role_and_round(store: Store, begin: Begin) -> None:
    made = {
        key: publish(store, key, {}, {"model/weights": key})
        for key in ("x/problems", "x/round_00/policy", "x/round_01/verified", "x/round_02/verified")
    }
    work = begin("x/round_02/policy", FakeTrainer())
    assert work.input("problems") == made["x/problems"]
    assert work.inputs_of("verified") == {1: made["x/round_01/verified"], 2: made["x/round_02/verified"]}
    assert (work.model("base") / "weights").read_text() == "x/round_00/policy"
    assert work.given("verified")
    assert not work.given("pairs")
    with pytest.raises(KeyError):
        work.input("pairs")
    with pytest.raises(ValueError, match="unpack"):
        work.input("verified")


def test_a_table_of_a_role_holds_every_round_in_order_and_of_no_input_no_row(store: Store, begin: Begin) -> None:
    publish(store, "x/problems", {"problems": asked("a", "b")})
    publish(store, "x/round_01/pool", {"problems": asked("c")})
    publish(store, "x/round_02/pool", {"problems": asked("b")})
    publish(store, "x/round_02/policy", {})
    evaluation = begin("x/round_02/evaluation", FakeTrainer())
    assert evaluation.read("asked", "problems")["question"].to_list() == ["c", "b"]
    assert begin("x/round_02/pool", FakeTrainer()).read("asked", "problems")["question"].to_list() == ["c"]
    none = begin("x/round_01/pool", FakeTrainer()).read("asked", "problems")
    assert (none.height, none.schema) == (0, dict(columns_of("problems")))


def test_shards_are_read_in_their_order_as_one(store: Store) -> None:
    experiment = Experiment.model_validate({**EXPERIMENT.model_dump(), "shards": 2})
    graph = unroll(experiment)
    publish(store, "x/round_01/pool", {})
    for shard, question in (("001", "b"), ("000", "a")):
        publish(store, f"x/round_01/trajectories/{shard}", {"problems": asked(question)})
    verified = plan("x/round_01/verified", experiment, graph)
    none = cast(Any, None)
    work = Work(verified, None, store, none, none, none, none, present_inputs(verified, store))
    assert list(work.shards("trees")) == ["000", "001"]
    assert work.shards("pool") == {"": store.current("x/round_01/pool")}
    assert work.read("trees", "problems")["question"].to_list() == ["a", "b"]


def test_settings_become_parameters_by_dotted_name() -> None:
    nested = {"search": {"rollouts": 4, "tie": "first"}, "seed": 0, "history": ["a", "b"], "control": None}
    assert flat(nested) == {
        "search.rollouts": "4",
        "search.tie": "first",
        "seed": "0",
        "history": "['a', 'b']",
        "control": "None",
    }


def test_the_facts_of_a_making_say_what_was_read_and_what_it_took(store: Store) -> None:
    publish(store, "x/problems", {})
    clock, before = Clock(), cpu_seconds()
    while cpu_seconds() - before < 0.02:
        sum(range(1000))
    with attempt(plan("x/round_01/pool"), None, store, FakeTracking(), []) as work:
        facts = clock.facts(work, Made(tokens=7))
    assert (facts.experiment_hash, facts.seeds) == (hash_of(EXPERIMENT), {"experiment": EXPERIMENT.seed})
    assert facts.settings == settings_of(EXPERIMENT, GRAPH["x/round_01/pool"])
    assert (facts.mlflow_run, facts.tokens) == ("run", 7)
    assert 0.02 <= facts.cpu_s <= cpu_seconds() - before
    assert 0.0 < facts.wall_s <= time.monotonic() - clock.wall
