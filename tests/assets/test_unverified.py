"""`unverified` and the arm that it trains: as many answers as were verified, whatever they are worth."""

from typing import Any

import polars as pl
import pytest

from assets import control, unverified
from assets.graph import unroll
from assets.work import Made, Plan, Work, present_inputs
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment
from perseid.tables import frame
from tests.assets.conftest import TOOLS, FakeMachines, FakeTrainer, publish

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "recipe": "rejection",
        "problems": TOOLS,
        "control": {"kind": "unverified"},
        "training": {"policy": {"verified_weight": 5}},
        "rounds": [{}],
    }
)
END = "<|end_of_answer|>"


@pytest.fixture
def store(store: Store) -> Store:
    """Four problems, two answers each, half of them right; three were verified."""
    problems = [(f"p{n}", "tools", "number", f"GCD of {n}, 6") for n in range(4)]
    gold, pools = [(p[0], "1") for p in problems], [(1, "pool", p[0]) for p in problems]
    publish(
        store,
        "x/round_01/pool",
        {"problems": frame("problems", problems), "gold": frame("gold", gold), "pools": frame("pools", pools)}
        | {"facets": frame("facets", [(p[0], "family", "gcd") for p in problems])},
    )
    texts = [(f"p{n}", f"0.{m}", f"print({m}){END}", f"{m}\n", "") for n in range(4) for m in (1, 2)]
    leaves = [
        (f"{2 * n + m:016x}", f"p{n}", f"0.{m}", str(m), m == 1, 0.0, 0.0, 1, 5, 1) for n in range(4) for m in (1, 2)
    ]
    publish(
        store,
        "x/round_01/samples/000",
        {"texts": frame("texts", texts), "trajectories": frame("trajectories", leaves)},
    )
    verified = [(f"{2 * n + 1:016x}", f"p{n}", problems[n][3], f"print(1){END}", "1", 1.0, 1.0, 1) for n in range(3)]
    publish(store, "x/round_01/verified", {"verified": frame("verified", verified)})
    publish(store, "x/round_00/policy", {}, {"model/model.safetensors": "base"})
    return store


def made(store: Store, key: str, maker: Any, trainer: FakeTrainer, e: Experiment = EXPERIMENT) -> tuple[Made, Manifest]:
    graph = unroll(e)
    plan, machines, none = Plan(e, graph, graph[key]), FakeMachines(trainer), None
    given: Any = (machines, none)
    with store.draft(key) as draft:
        inputs = present_inputs(plan, store)
        work = Work(plan, None, store, given[0], draft, given[1], lambda report: None, inputs)
        return maker.make(work), draft.publish("code", {})


def test_as_many_are_drawn_as_were_verified(store: Store) -> None:
    told, manifest = made(store, "x/round_01/unverified", unverified, FakeTrainer())
    rows = store.read(manifest, "unverified")
    assert rows.height == told.metrics["trajectories"] == 3
    assert told.metrics["right"] == rows["correct"].mean()
    assert set(rows["trajectory_id"]) <= {f"{number:016x}" for number in range(1, 9)}


def test_the_arm_trains_on_them_from_the_base_with_the_weight_that_verified_ones_have(store: Store) -> None:
    _, drawn = made(store, "x/round_01/unverified", unverified, FakeTrainer())
    trainer = FakeTrainer()
    _, manifest = made(store, "x/round_01/control", control, trainer)
    rows = store.read(manifest, "examples").select("example_id", "source", "round", "weight").rows()
    ids = sorted(store.read(drawn, "unverified")["trajectory_id"])
    assert rows == [(name, "unverified", 1, 5.0) for name in ids]
    [(_, _, start, *_)] = trainer.asked
    assert (start / "model.safetensors").read_text() == "base"


def test_where_epochs_say_how_long_the_arm_takes_as_many_steps_as_the_policy(store: Store) -> None:
    """Of 7 examples that the policy learned from, 5 times each, in batches of 8, twice."""
    whole = EXPERIMENT.model_dump()
    whole["training"]["policy"] |= {"epochs": 2, "batch": 8}
    e = Experiment.model_validate(whole)
    rows = [(f"{n:016x}", "verified", 1, "p0", f"{n:016x}", 5.0) for n in range(7)]
    publish(store, "x/round_01/policy", {"examples": frame("examples", rows)})
    made(store, "x/round_01/unverified", unverified, FakeTrainer())
    trainer = FakeTrainer()
    made(store, "x/round_01/control", control, trainer, e)
    settings = trainer.asked[0][3]
    assert (settings.steps, settings.epochs) == (2 * 5, 0)


def test_where_nothing_was_verified_nothing_is_drawn(store: Store) -> None:
    publish(store, "x/round_01/verified", {"verified": frame("verified", [])})
    told, manifest = made(store, "x/round_01/unverified", unverified, FakeTrainer())
    assert (told.metrics, manifest.row_counts) == ({"trajectories": 0, "right": 0.0}, {"unverified": 0})
    assert store.read(manifest, "unverified").schema["correct"] == pl.Boolean
