"""The gate at work on a real store: whom a verdict compares, and that it is asked for once a case."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.gate import case_of, is_settled, settle
from assets.tracking import Account, Checkpoint, Tracked
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment
from perseid.tables import columns_of

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "evaluation": {"bootstrap_samples": 100},
        "rounds": [{}, {}],
    }
)


class Names:
    """Tracking that remembers aliases."""

    def __init__(self) -> None:
        self.aliases: dict[tuple[str, str], str] = {}

    def attempt(self, round_key: str, asset: str, tags: Mapping[str, str]) -> AbstractContextManager[Tracked]:
        raise AssertionError("the gate makes no attempt")

    def register(self, checkpoint: Checkpoint) -> str:
        return "1"

    def alias(self, model: str, alias: str, version: str) -> None:
        self.aliases[model, alias] = version

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        raise AssertionError("the gate ends no round")

    def agree(self, account: Account) -> None:
        raise AssertionError("the gate gives no account")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def policy(store: Store, number: int, weights: str = "") -> Manifest:
    with store.draft(f"x/round_{number:02d}/policy") as draft:
        draft.path("model").mkdir()
        draft.path("model/model.safetensors").write_text(f"{number} {weights}")
        return draft.publish("code", {})


def evaluate(store: Store, made: Manifest, right: int, problems: int = 40, code: str = "fresh_instances 2") -> Manifest:
    """The policy answers the first `right` of so many problems; another `code` says more beside the same answers."""
    rows = [
        dict.fromkeys(columns_of("evaluations"))
        | {"problem_id": f"p{n:02d}", "arm": "policy", "decoding": "greedy", "sample": 0, "answer": "1"}
        | {"correct": n < right, "tokens": 3, "status": "answer"}
        for n in range(problems)
    ]
    answers = pl.DataFrame(rows, schema=columns_of("evaluations"))
    with store.draft(made.key.replace("/policy", "/evaluation")) as draft:
        draft.table("evaluations", answers)
        draft.path("soundness.txt").write_text(code)
        return draft.publish(code, {made.key: made.version})


def champion(store: Store) -> str:
    found = gate.champion(store, "x")
    assert found is not None
    return found.key.split("/")[1]


def test_evaluations_made_again_with_another_setting_leave_round_2_champion_and_judge_every_round(store: Store) -> None:
    names, policies = Names(), [policy(store, number) for number in range(3)]
    for code in ("fresh_instances 2", "fresh_instances 3"):
        for made, right in zip(policies, (10, 20, 21), strict=True):
            evaluation = evaluate(store, made, right, code=code)
            assert not is_settled(store, EXPERIMENT, evaluation)
            settle(store, EXPERIMENT, evaluation, names)
            assert is_settled(store, EXPERIMENT, evaluation)
            assert champion(store) == ("round_02" if code.endswith("3") else made.key.split("/")[1])
    assert names.aliases == {("x-policy", "champion"): policies[2].version}
    history = gate.state(store, "x").history
    assert [event.key.split("/")[1] for event in history] == ["round_00", "round_01", "round_02"] * 2
    assert len({event.evaluation for event in history}) == 6


def test_a_worse_policy_is_held_against_the_champion_of_the_rounds_before(store: Store) -> None:
    for number, right in enumerate((30, 5, 31)):
        settle(store, EXPERIMENT, evaluate(store, policy(store, number), right), Names())
    events = gate.state(store, "x").history
    assert [(event.action, event.against and event.against.key) for event in events] == [
        ("promote", None),
        ("hold", "x/round_00/policy"),
        ("promote", "x/round_00/policy"),
    ]


def test_a_verdict_is_asked_for_again_when_the_rival_was_evaluated_anew(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    settle(store, EXPERIMENT, evaluate(store, first, 10), Names())
    evaluation = evaluate(store, second, 20)
    settle(store, EXPERIMENT, evaluation, Names())
    settle(store, EXPERIMENT, evaluate(store, first, 10, code="again"), Names())
    assert not is_settled(store, EXPERIMENT, evaluation)


def test_one_that_was_judged_on_other_problems_gives_way(store: Store) -> None:
    settle(store, EXPERIMENT, evaluate(store, policy(store, 0), 40), Names())
    evaluation = evaluate(store, policy(store, 1), 1, problems=30)
    assert settle(store, EXPERIMENT, evaluation, Names()).reason == "the champion was judged on other held-out problems"
    assert case_of(store, EXPERIMENT, evaluation).rival != ""


def test_evaluations_that_are_changed_and_changed_back_leave_the_line_of_the_first_time(store: Store) -> None:
    """In between, round 1 is seen to be worse than round 0 and round 2 is not."""
    policies, lines = [policy(store, number) for number in range(3)], []
    for code, shares in (("long", (10, 20, 21)), ("short", (20, 5, 20)), ("long", (10, 20, 21))):
        for made, right in zip(policies, shares, strict=True):
            evaluation = evaluate(store, made, right, code=code)
            if not is_settled(store, EXPERIMENT, evaluation):
                settle(store, EXPERIMENT, evaluation, Names())
            assert is_settled(store, EXPERIMENT, evaluation)
        lines.append([place.round for place in gate.state(store, "x").line])
    assert lines == [[0, 1, 2], [0, 2], [0, 1, 2]]


@pytest.mark.parametrize("change", [{"gate": {"confidence": 0.1}}, {"evaluation": {"bootstrap_samples": 200}}])
def test_a_verdict_is_asked_for_again_by_another_rule(store: Store, change: dict[str, Any]) -> None:
    changed = Experiment.model_validate(EXPERIMENT.model_dump() | change)
    first, second = (evaluate(store, policy(store, number), right) for number, right in enumerate((20, 19)))
    for evaluation in (first, second):
        settle(store, EXPERIMENT, evaluation, Names())
    assert is_settled(store, changed, first), "nothing was compared"
    assert not is_settled(store, changed, second)
    decision = settle(store, changed, second, Names())
    assert decision.verdict == ("hold" if "gate" in change else "promote")
    assert is_settled(store, changed, second)
    assert not is_settled(store, EXPERIMENT, second)
