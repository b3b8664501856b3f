import json
import multiprocessing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from perseid import gate
from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.gate import Case, Decision, Holder, State

BETTER, WORSE = [1.0] * 60 + [0.0] * 40, [1.0] * 20 + [0.0] * 80
PROMOTE = Decision(verdict="promote", reason="no champion stands before it")
HOLD = Decision(verdict="hold", reason="worse")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def policy(store: Store, number: int, weights: str = "") -> Holder:
    """A published policy of a round."""
    key = f"toy/round_{number:02d}/policy"
    with store.draft(key) as draft:
        draft.path("model").mkdir()
        draft.path("model/weights").write_text(f"{number}{weights}")
        return Holder(key=key, version=draft.publish("code", {}).version)


def judge(store: Store, policy: Holder, decision: Decision, evaluation: str = "e") -> State:
    """Write down a verdict on a policy against the champion of the rounds before it."""
    champion = gate.state(store, "toy").before(policy)
    return gate.apply(store, "toy", Case(candidate=policy, champion=champion, evaluation=evaluation), decision)


def test_the_first_candidate_is_promoted() -> None:
    assert gate.decide(WORSE, None, seed=0) == Decision(verdict="promote", reason="no champion stands before it")


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


def test_the_confidence_asked_for_decides_what_is_shown_and_equal_seeds_decide_alike() -> None:
    champion, candidate = [1.0, 0.0] * 50, [1.0, 0.0] * 48 + [0.0, 0.0] * 2
    sure, unsure = (gate.decide(candidate, champion, seed=3, confidence=share) for share in (0.99, 0.5))
    assert (sure.verdict, unsure.verdict) == ("promote", "hold")
    assert gate.decide(candidate, champion, seed=3, confidence=0.5) == unsure
    few = [gate.decide(candidate, champion, seed=3, samples=number).difference for number in (7, 8)]
    assert few[0] != few[1]


def test_nothing_evaluated_is_held() -> None:
    assert gate.decide([], [], seed=0) == Decision(verdict="hold", reason="no held-out problem was evaluated")


def test_before_any_decision_there_is_no_champion(store: Store) -> None:
    assert gate.champion(store, "toy") is None
    assert gate.state(store, "toy") == gate.State()


def test_decisions_are_written_down_in_order(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    now = judge(store, second, HOLD)
    assert (now.champion, now.candidate) == (first, second)
    assert [(event.key, event.action, event.reason, event.forced) for event in now.history] == [
        (first.key, "promote", "no champion stands before it", False),
        (second.key, "hold", "worse", False),
    ]
    assert gate.state(store, "toy") == now
    assert gate.champion(store, "toy") == first


def test_the_same_decision_again_changes_nothing_even_after_a_rollback(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    judge(store, second, PROMOTE)
    rolled_back = gate.rollback(store, "toy")
    assert rolled_back.champion == first
    assert judge(store, second, PROMOTE) == rolled_back


def test_an_evaluation_made_again_leaves_the_champion_where_it_is(store: Store) -> None:
    policies = [policy(store, number) for number in range(3)]
    for judged in policies:
        judge(store, judged, PROMOTE, "fresh_instances 2")
    for judged in policies:
        assert judge(store, judged, PROMOTE, "fresh_instances 3").champion == policies[2]
    now = gate.state(store, "toy")
    verdicts = [(event.key, event.evaluation) for event in now.history]
    assert verdicts == [(judged.key, f"fresh_instances {n}") for n in (2, 3) for judged in policies]
    assert [place.key for place in now.line] == [judged.key for judged in policies]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_judging_again_decides_nothing(store: Store, order: tuple[int, ...]) -> None:
    policies = [policy(store, number) for number in range(3)]
    for judged in policies:
        judge(store, judged, PROMOTE)
    for number in order:
        judge(store, policies[number], HOLD if number == 1 else PROMOTE, "again")
    now = gate.state(store, "toy")
    assert [place.key for place in now.line] == [policies[0].key, policies[2].key]
    assert now.champion == policies[2]


def test_a_policy_is_judged_against_the_champion_of_the_rounds_before_it(store: Store) -> None:
    first, second, third = (policy(store, number) for number in range(3))
    judge(store, first, PROMOTE)
    judge(store, second, HOLD)
    judge(store, third, PROMOTE)
    now = gate.state(store, "toy")
    assert [now.before(judged) for judged in (first, second, third)] == [None, first, first]


def test_a_new_verdict_on_the_champion_itself_counts(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    judge(store, second, PROMOTE)
    now = judge(store, second, HOLD, "on more problems")
    assert (now.champion, now.candidate) == (first, second)


def test_another_version_of_a_rounds_policy_takes_the_place_of_the_one_before(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    judge(store, second, PROMOTE)
    trained_anew = Holder(key=first.key, version="a" * 16)
    now = judge(store, trained_anew, PROMOTE)
    assert (now.champion, [place.version for place in now.line]) == (second, ["a" * 16, second.version])


def test_a_verdict_is_known_of_its_very_case_alone(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    now = judge(store, second, PROMOTE)
    case = Case(candidate=second, champion=first, evaluation="e")
    assert now.verdict(case) == now.history[-1]
    for other in ({"evaluation": "f"}, {"rival": "g"}, {"rule": "r"}, {"champion": None}, {"candidate": first}):
        assert now.verdict(case.model_copy(update=other)) is None


def test_the_users_word_stands_until_a_later_round_is_judged(store: Store) -> None:
    first, second, third = (policy(store, number) for number in range(3))
    judge(store, first, PROMOTE)
    judge(store, second, PROMOTE)
    gate.promote(store, "toy", first.key)
    assert judge(store, second, PROMOTE, "again").champion == first
    assert gate.state(store, "toy").before(third) == first
    assert judge(store, third, PROMOTE).champion == third


def test_what_was_rolled_back_is_not_promoted_by_judging_it_again(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    judge(store, second, PROMOTE)
    gate.rollback(store, "toy")
    now = judge(store, second, PROMOTE, "again")
    assert (now.champion, now.history[-1].evaluation) == (first, "again")
    assert gate.promote(store, "toy", second.key).champion == second
    assert judge(store, second, PROMOTE, "and again").champion == second


def test_a_state_of_before_cases_is_still_read(store: Store) -> None:
    first = policy(store, 0)
    holder = first.model_dump()
    event = {**holder, "action": "promote", "reason": "there is no champion yet", "at": "2026-01-01", "forced": False}
    (store.root / "toy" / "champion.json").write_text(json.dumps({"line": [holder], "history": [event]}))
    assert gate.champion(store, "toy") == first
    assert judge(store, policy(store, 1), HOLD).champion == first


def test_a_held_policy_may_be_promoted_by_hand(store: Store) -> None:
    first, second = policy(store, 0), policy(store, 1)
    judge(store, first, PROMOTE)
    judge(store, second, HOLD)
    now = gate.promote(store, "toy", "perseid://toy/round_01/policy", reason="we like it")
    assert (now.champion, now.candidate) == (second, None)
    assert (now.history[-1].action, now.history[-1].forced, now.history[-1].reason) == ("promote", True, "we like it")
    assert gate.promote(store, "toy", second.key) == now


def test_the_candidate_is_the_last_round_that_was_held_until_its_own_round_is_promoted(store: Store) -> None:
    policies = [policy(store, number) for number in range(4)]
    for judged, decision in zip(policies, (PROMOTE, HOLD, HOLD, PROMOTE), strict=True):
        now = judge(store, judged, decision)
    assert now.candidate == policies[2]
    assert judge(store, policies[1], HOLD, "again").candidate == policies[2]
    trained_anew = policy(store, 2, "anew")
    assert judge(store, trained_anew, HOLD).candidate == trained_anew
    assert judge(store, policies[1], PROMOTE, "and again").candidate == trained_anew
    assert judge(store, trained_anew, PROMOTE, "again").candidate is None


def test_neither_hand_nor_verdict_on_what_was_rolled_back_takes_a_candidate_away(store: Store) -> None:
    first, second, third = (policy(store, number) for number in range(3))
    judge(store, third, HOLD)
    assert gate.promote(store, "toy", first.key).candidate == third
    assert gate.promote(store, "toy", second.key).candidate == third
    assert gate.rollback(store, "toy").candidate == third
    assert judge(store, second, PROMOTE).candidate == third


def test_an_older_version_may_be_promoted_by_hand(store: Store) -> None:
    old, new = policy(store, 0), policy(store, 0, "anew")
    assert old.version != new.version
    assert gate.promote(store, "toy", old.key, old.version).champion == old
    assert gate.promote(store, "toy", old.key).champion == new


def test_an_event_says_when_in_utc_and_what_gave_its_place_back(store: Store) -> None:
    policies = [policy(store, number) for number in range(3)]
    for promoted in policies:
        gate.promote(store, "toy", promoted.key)
    event = gate.rollback(store, "toy").history[-1]
    assert (event.key, event.version, event.against) == (policies[1].key, policies[1].version, policies[2])
    assert datetime.fromisoformat(event.at).utcoffset() == timedelta(0)


def test_a_policy_of_no_round_comes_before_the_first() -> None:
    named = [Holder(key=key, version="a" * 16) for key in ("toy/policy", "toy/round_07/policy", "toy/round_12/policy")]
    assert [gate.round_of(one) for one in named] == [0, 7, 12]


def test_a_rollback_gives_the_place_back_one_champion_at_a_time(store: Store) -> None:
    for number in range(3):
        gate.promote(store, "toy", policy(store, number).key)
    assert [gate.rollback(store, "toy").champion for _ in range(2)] == [policy(store, 1), policy(store, 0)]
    with pytest.raises(UserError, match=r"champion\.json: no champion stood before the present one"):
        gate.rollback(store, "toy")
    assert gate.champion(store, "toy") == policy(store, 0)


def test_only_policies_of_the_experiment_that_are_there_can_be_promoted(store: Store) -> None:
    policy(store, 1)
    with pytest.raises(UserError, match="nearest: toy/round_01/policy"):
        gate.promote(store, "toy", "toy/round_02/policy")
    with pytest.raises(UserError, match=r"^promote: toy/round_01/policy: expected a policy of other"):
        gate.promote(store, "other", "toy/round_01/policy")
    assert gate.champion(store, "toy") is None


def test_a_damaged_state_is_named(store: Store) -> None:
    gate.promote(store, "toy", policy(store, 0).key)
    path = store.root / "toy" / "champion.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=r"champion\.json: .*damaged"):
        gate.champion(store, "toy")
    path.write_text(json.dumps({"line": [{"key": 1, "version": "a" * 16}]}))
    with pytest.raises(UserError, match=r"champion\.json: line\.0\.key: damaged"):
        gate.champion(store, "toy")


def test_a_state_that_cannot_be_read_or_written_is_named(store: Store) -> None:
    (store.root / "toy" / "champion.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"toy/champion\.json: cannot be read \(Is a directory\)$"):
        gate.champion(store, "toy")
    (store.root / "other").write_text("no folder")
    with pytest.raises(UserError, match=f"^{store.root}/other: "):
        gate.apply(store, "other", Case(candidate=Holder(key="other/round_01/policy", version="a" * 16)), HOLD)


def test_the_champion_is_no_artifact(store: Store) -> None:
    gate.promote(store, "toy", policy(store, 0).key)
    assert store.keys() == ["toy/round_00/policy"]


def hold_many(root: Path, name: str) -> None:
    for number in range(20):
        decision = Decision(verdict="hold", reason=f"{name} {number}")
        case = Case(candidate=Holder(key=f"toy/{name}/policy", version="0" * 16))
        gate.apply(Store(root), "toy", case, decision)


@pytest.mark.slow
def test_processes_that_decide_at_once_lose_no_decision(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=hold_many, args=(tmp_path, name)) for name in ("a", "b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    reasons = [event.reason for event in gate.state(Store(tmp_path), "toy").history]
    assert sorted(reasons) == sorted(f"{name} {number}" for name in "ab" for number in range(20))
