import multiprocessing
from pathlib import Path

import pytest

from perseid import gate
from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.gate import Decision, Holder

BETTER, WORSE = [1.0] * 60 + [0.0] * 40, [1.0] * 20 + [0.0] * 80
PROMOTE = Decision(verdict="promote", reason="there is no champion yet")
HOLD = Decision(verdict="hold", reason="worse")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def policy(store: Store, number: int) -> Holder:
    """A published policy of a round."""
    key = f"toy/round_{number:02d}/policy"
    with store.draft(key) as draft:
        draft.path("model").mkdir()
        draft.path("model/weights").write_text(str(number))
        return Holder(key=key, version=draft.publish("code", {}).version)


def test_the_first_candidate_is_promoted() -> None:
    assert gate.decide(WORSE, None, seed=0) == Decision(verdict="promote", reason="there is no champion yet")


def test_a_candidate_that_is_worse_is_held_with_the_figures() -> None:
    found = gate.decide(WORSE, BETTER, seed=0)
    assert found.verdict == "hold"
    assert found.reason.startswith("worse than the champion: -40.0% [-")
    assert found.reason.endswith("], 95% paired, 100 problems")
    assert found.difference is not None
    value, low, high = found.difference
    assert value == -0.4
    assert low < value < high < 0.0
    assert found.n == 100


def test_a_candidate_that_is_better_or_equal_is_promoted() -> None:
    better = gate.decide(BETTER, WORSE, seed=0)
    assert (better.verdict, better.reason.split(":")[0]) == ("promote", "better than the champion")
    equal = gate.decide(BETTER, BETTER, seed=0)
    assert (equal.verdict, equal.difference) == ("promote", (0.0, 0.0, 0.0))
    assert equal.reason.startswith("not shown to be worse than the champion")


def test_a_loss_that_may_be_chance_is_promoted() -> None:
    champion, candidate = [1.0, 0.0] * 50, [1.0, 0.0] * 49 + [0.0, 0.0]
    assert gate.decide(candidate, champion, seed=0).verdict == "promote"


def test_nothing_evaluated_is_held() -> None:
    assert gate.decide([], [], seed=0) == Decision(verdict="hold", reason="no held-out problem was evaluated")


def test_before_any_decision_there_is_no_champion(store: Store) -> None:
    assert gate.champion(store, "toy") is None
    assert gate.state(store, "toy") == gate.State()


def test_decisions_are_written_down_in_order(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    gate.apply(store, "toy", first, PROMOTE)
    now = gate.apply(store, "toy", second, HOLD)
    assert (now.champion, now.candidate) == (first, second)
    assert [(event.key, event.action, event.reason, event.forced) for event in now.history] == [
        (first.key, "promote", "there is no champion yet", False),
        (second.key, "hold", "worse", False),
    ]
    assert gate.state(store, "toy") == now
    assert gate.champion(store, "toy") == first


def test_the_same_decision_again_changes_nothing_even_after_a_rollback(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    gate.apply(store, "toy", first, PROMOTE)
    gate.apply(store, "toy", second, PROMOTE)
    rolled_back = gate.rollback(store, "toy")
    assert rolled_back.champion == first
    assert gate.apply(store, "toy", second, PROMOTE) == rolled_back


def test_a_held_policy_may_be_promoted_by_hand(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    gate.apply(store, "toy", first, PROMOTE)
    gate.apply(store, "toy", second, HOLD)
    now = gate.promote(store, "toy", "perseid://toy/round_01/policy", reason="we like it")
    assert (now.champion, now.candidate) == (second, None)
    assert (now.history[-1].action, now.history[-1].forced, now.history[-1].reason) == ("promote", True, "we like it")
    assert gate.promote(store, "toy", second.key) == now


def test_a_rollback_gives_the_place_back_one_champion_at_a_time(store: Store) -> None:
    for number in range(3):
        gate.promote(store, "toy", policy(store, number).key)
    assert [gate.rollback(store, "toy").champion for _ in range(2)] == [policy(store, 1), policy(store, 0)]
    with pytest.raises(UserError, match=r"champion\.json: line: no champion stands before the present one"):
        gate.rollback(store, "toy")
    assert gate.champion(store, "toy") == policy(store, 0)


def test_only_policies_of_the_experiment_that_are_there_can_be_promoted(store: Store) -> None:
    policy(store, 1)
    with pytest.raises(UserError, match="nearest: toy/round_01/policy"):
        gate.promote(store, "toy", "toy/round_02/policy")
    with pytest.raises(UserError, match="expected a policy of other"):
        gate.promote(store, "other", "toy/round_01/policy")
    assert gate.champion(store, "toy") is None


def test_a_damaged_state_is_named(store: Store) -> None:
    gate.promote(store, "toy", policy(store, 0).key)
    path = store.root / "toy" / "champion.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"champion\.json: .*damaged"):
        gate.champion(store, "toy")


def test_the_champion_is_no_artifact(store: Store) -> None:
    gate.promote(store, "toy", policy(store, 0).key)
    assert store.keys() == ["toy/round_00/policy"]


def hold_many(root: Path, name: str) -> None:
    for number in range(20):
        decision = Decision(verdict="hold", reason=f"{name} {number}")
        gate.apply(Store(root), "toy", Holder(key=f"toy/{name}/policy", version="0" * 16), decision)


def test_processes_that_decide_at_once_lose_no_decision(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=hold_many, args=(tmp_path, name)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    reasons = [event.reason for event in gate.state(Store(tmp_path), "toy").history]
    assert sorted(reasons) == sorted(f"{name} {number}" for name in "ab" for number in range(20))
