"""`policy`, its base and its control: which rows train them, and what stands in the artifact."""

from pathlib import Path

import pytest

from assets import bootstrap, control, policy
from models.examples import Example
from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.formats.tools import MARKS
from perseid.tables.validation import frame
from tests.assets.conftest import CURVE, EXPERIMENT, Begin, FakeTrainer, publish

SHOWN = [
    (f"{1:016x}", "demonstration", "p1", "GCD of 4, 6", "print(2)"),
    (f"{2:016x}", "drill", "", "call gcd", "gcd(q)"),
]
DEMONSTRATED = [("<|question|>GCD of 4, 6<|steps|>", "print(2)", 1.0), ("<|question|>call gcd<|steps|>", "gcd(q)", 1.0)]


def verified(number: int, question: str, response: str) -> tuple[object, ...]:
    return (f"{number:016x}", f"p{number}", question, response, "1", 1.0, 1.0, 1)


@pytest.fixture
def made(store: Store) -> Store:
    """What stands above the policies of two rounds."""
    publish(store, "x/problems", {"demonstrations": frame("demonstrations", SHOWN)})
    publish(store, "x/round_00/policy", {}, {"model/model.safetensors": "base"})
    publish(store, "x/round_01/verified", {"verified": frame("verified", [verified(3, "LCM of 2, 3", "print(6)")])})
    publish(store, "x/round_02/verified", {"verified": frame("verified", [verified(4, "LCM of 4, 6", "print(12)")])})
    return store


def texts(examples: list[Example]) -> list[tuple[str, str, float]]:
    return sorted((example.prompt.text, "".join(example.steps), example.weight) for example in examples)


def test_a_policy_learns_from_the_demonstrations_and_what_was_verified_so_far(made: Store, begin: Begin) -> None:
    trainer = FakeTrainer()
    work = begin("x/round_02/policy", trainer)
    result = policy.make(work)
    [(kind, examples, start, settings, lora, out, attempt)] = trainer.asked
    weight = float(EXPERIMENT.training.policy.verified_weight)
    learned = [
        ("<|question|>LCM of 2, 3<|steps|>", "print(6)", weight),
        ("<|question|>LCM of 4, 6<|steps|>", "print(12)", weight),
    ]
    assert texts(examples) == sorted([*DEMONSTRATED, *learned])
    assert (kind, settings, lora, out) == ("policy", EXPERIMENT.training.policy, None, work.draft.path("model"))
    assert (start / "model.safetensors").read_text() == "base"
    assert (attempt.seed, attempt.artifact, attempt.section) == (
        EXPERIMENT.seed,
        "x/round_02/policy",
        "training.policy",
    )
    assert (result.metrics, result.tokens) == ({"examples": 4, "loss": 1.0}, 200)
    assert result.curves == {"training_loss": [(10, 2.0), (20, 1.0)]}


def test_every_row_that_trained_a_policy_stands_in_it(made: Store, begin: Begin) -> None:
    work = begin("x/round_01/policy", FakeTrainer())
    policy.make(work)
    manifest = work.draft.publish("code", {})
    rows = made.read(manifest, "examples").select("example_id", "source", "round", "problem_id", "trajectory_id")
    assert rows.rows() == [
        (f"{1:016x}", "demonstration", 0, "p1", None),
        (f"{2:016x}", "drill", 0, "", None),
        (f"{3:016x}", "verified", 1, "p3", f"{3:016x}"),
    ]
    assert made.read(manifest, "training").rows() == CURVE.rows()
    assert (made.folder(manifest) / "model.safetensors").read_text() == "policy"


def test_what_was_too_long_to_learn_is_told_and_stands_in_no_row(made: Store, begin: Begin) -> None:
    work = begin("x/round_01/policy", FakeTrainer(left_out=(1,)))
    result = policy.make(work)
    assert (result.metrics["examples"], result.metrics["left out"]) == (2, 1)
    assert result.notes == {"left out": "1 examples were longer than the context, and none is cut."}
    rows = made.read(work.draft.publish("code", {}), "examples")
    assert rows["example_id"].to_list() == [f"{1:016x}", f"{3:016x}"]


def test_the_control_learns_from_the_demonstrations_alone_as_long_as_the_policy(made: Store, begin: Begin) -> None:
    trainer = FakeTrainer()
    control.make(begin("x/round_01/control", trainer))
    [(_, examples, start, settings, _, _, attempt)] = trainer.asked
    assert texts(examples) == DEMONSTRATED
    assert (start / "model.safetensors").read_text() == "base"
    assert settings == EXPERIMENT.training.policy
    assert attempt.artifact == "x/round_01/control"


def test_nothing_to_learn_from_is_said_before_anything_is_trained(made: Store, begin: Begin) -> None:
    publish(made, "x/problems", {"demonstrations": frame("demonstrations", [])})
    publish(made, "x/round_01/verified", {"verified": frame("verified", [])})
    trainer = FakeTrainer()
    with pytest.raises(UserError, match=r"x/round_01/policy: training\.policy: expected an example to train on"):
        policy.make(begin("x/round_01/policy", trainer))
    assert trainer.asked == []


def test_the_base_is_made_from_the_demonstrations_and_trained_on_them(made: Store, begin: Begin) -> None:
    trainer = FakeTrainer()
    bootstrap.make(begin("x/round_00/policy", trainer))
    (_, shown, base, marks, empty, first), (kind, examples, start, settings, _, _, second) = trainer.asked
    assert (base, marks, settings, kind) == (EXPERIMENT.models.policy, MARKS, EXPERIMENT.training.bootstrap, "policy")
    assert texts(shown) == texts(examples) == DEMONSTRATED
    assert start == empty
    assert first == second
    assert second.section == "training.bootstrap"


def test_what_a_killed_training_goes_on_from_is_its_own(made: Store, begin: Begin) -> None:
    """Of its key, its code and its inputs: none of two policies, and none of other verified rows."""

    def state(key: str) -> Path:
        trainer = FakeTrainer()
        policy.make(begin(key, trainer))
        return Path(trainer.asked[0][-1].state)

    before = state("x/round_01/policy")
    assert before == state("x/round_01/policy")
    assert made.place("x/round_01/policy") in before.parents
    assert before != state("x/round_02/policy")
    publish(made, "x/round_01/verified", {"verified": frame("verified", [verified(3, "LCM of 2, 3", "print(7)")])})
    assert before != state("x/round_01/policy")
