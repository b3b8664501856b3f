import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perseid.metrics import (
    Estimate,
    best_of,
    bootstrap,
    bootstrap_groups,
    macro,
    majority,
    paired_difference,
    pass_at_k,
    pass_at_k_each,
)

SHARES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=40)


def test_pass_at_k_in_cases_worked_by_hand() -> None:
    assert pass_at_k(n=8, c=2, k=3) == 1 - 20 / 56
    assert pass_at_k(n=4, c=1, k=2) == 0.5
    assert pass_at_k(n=5, c=0, k=5) == 0.0
    assert pass_at_k(n=5, c=3, k=3) == 1.0
    assert pass_at_k(n=8, c=1, k=8) == 1.0


@settings(deadline=None)
@given(n=st.integers(1, 9), data=st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample(n: int, data: st.DataObject) -> None:
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    draws = [any(sample < c for sample in draw) for draw in combinations(range(n), k)]
    assert pass_at_k(n, c, k) == pytest.approx(sum(draws) / len(draws))


def test_pass_at_1_is_the_share_of_right_samples() -> None:
    correct = [[True, False, False, False], [True, True, True, True], [False] * 4]
    assert pass_at_k_each(correct, 1).tolist() == [0.25, 1.0, 0.0]
    assert pass_at_k_each(correct, 2).tolist() == [0.5, 1.0, 0.0]
    assert pass_at_k_each(np.zeros((0, 4)), 2).tolist() == []


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_pass_at_k_refuses_what_cannot_be(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match="expected 0 <= c <= n and 1 <= k <= n"):
        pass_at_k(n, c, k)


def test_the_majority_decides_and_a_tie_counts_with_its_chance() -> None:
    assert majority(["4", "4", "5"], [True, True, False]) == 1.0
    assert majority(["5", "5", "4"], [False, False, True]) == 0.0
    assert majority(["4", "5"], [True, False]) == 0.5
    assert majority(["4", "5", "6"], [True, False, False]) == pytest.approx(1 / 3)


def test_samples_without_an_answer_do_not_vote() -> None:
    assert majority([None, None, "4"], [False, False, True]) == 1.0
    assert majority([None, None], [False, False]) == 0.0
    assert majority([], []) == 0.0


def test_votes_may_have_weights() -> None:
    assert majority(["5", "5", "4"], [False, False, True], [0.1, 0.1, 0.9]) == 1.0


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1", "2", "3", None]), max_size=12))
def test_the_order_of_the_samples_does_not_change_the_vote(answers: list[str | None]) -> None:
    shuffled = sorted(answers, key=str)
    assert majority(answers, [a == "1" for a in answers]) == majority(shuffled, [a == "1" for a in shuffled])


def test_the_best_score_decides_and_a_tie_counts_with_its_chance() -> None:
    assert best_of([0.1, 0.9, 0.5], [False, True, False]) == 1.0
    assert best_of([0.9, 0.9, 0.5], [False, True, True]) == 0.5
    assert best_of([None, -0.5], [True, False]) == 0.0
    assert best_of([0.9, 0.1], [False, True], [None, "4"]) == 1.0
    assert best_of([], []) == 0.0


def test_an_interval_is_close_to_the_binomial_one() -> None:
    half = bootstrap([1.0] * 200 + [0.0] * 200, seed=0, samples=20_000)
    width = 1.96 * math.sqrt(0.25 / 400)
    assert (half.value, half.n) == (0.5, 400)
    assert half.low == pytest.approx(0.5 - width, abs=0.005)
    assert half.high == pytest.approx(0.5 + width, abs=0.005)


def test_equal_seeds_give_equal_intervals_and_a_wider_confidence_a_wider_one() -> None:
    values = [0.0, 0.25, 1.0] * 30
    assert bootstrap(values, seed=3) == bootstrap(values, seed=3)
    assert bootstrap(values, seed=3) != bootstrap(values, seed=4)
    narrow, wide = bootstrap(values, seed=3, confidence=0.5), bootstrap(values, seed=3, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_no_problems_give_an_empty_estimate_and_equal_ones_no_width() -> None:
    assert bootstrap([], seed=0) == Estimate(0.0, 0.0, 0.0, 0)
    assert bootstrap([1.0] * 7, seed=0) == Estimate(1.0, 1.0, 1.0, 7)


@settings(deadline=None)
@given(SHARES, st.integers(0, 2**32))
def test_an_interval_lies_within_the_values_and_ignores_their_order(values: list[float], seed: int) -> None:
    found = bootstrap(values, seed=seed, samples=50)
    assert min(values) - 1e-12 <= found.low <= found.high <= max(values) + 1e-12
    again = bootstrap(sorted(values), seed=seed, samples=50)
    assert (found.low, found.high, found.n) == (again.low, again.high, again.n)


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    rng = np.random.default_rng(0)
    before = (rng.random(300) < 0.5).astype(float)
    after = np.where(rng.random(300) < 0.1, 1.0, before)
    found = paired_difference(after, before, seed=0)
    apart = bootstrap(after, seed=0)
    assert found.value == pytest.approx(after.mean() - before.mean())
    assert 0.0 < found.low < found.value < found.high
    assert found.high - found.low < apart.high - apart.low


@settings(deadline=None)
@given(SHARES)
def test_a_column_does_not_differ_from_itself(values: list[float]) -> None:
    assert paired_difference(values, values, seed=0, samples=20) == Estimate(0.0, 0.0, 0.0, len(values))


def test_other_problems_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="expected the same problems"):
        paired_difference([1.0, 0.0], [1.0], seed=0)


def test_a_confidence_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    draws = (rng.random((400, 200)) < 0.6).astype(float)
    found = [bootstrap(row, seed=i, samples=500) for i, row in enumerate(draws)]
    covered = sum(one.low <= 0.6 <= one.high for one in found) / len(found)
    assert 0.91 <= covered <= 0.98


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_an_error_and_no_number(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap([0.5, value], seed=0)
    with pytest.raises(ValueError, match="finite"):
        best_of([0.5, value], [True, False])


def test_weights_must_be_as_many_as_the_answers() -> None:
    with pytest.raises(ValueError, match="zip"):
        majority(["1"], [True], weights=[])


def test_verdicts_and_answers_must_be_as_many_as_the_scores() -> None:
    for correct, answers in (([True], None), ([True, False, True], None), ([True, False], ["1"])):
        with pytest.raises(ValueError, match="zip"):
            best_of([0.5, 0.25], correct, answers)


def test_an_answer_is_right_when_any_sample_of_it_was_graded_right() -> None:
    assert majority(["4", "5", "4", "5", "4"], [True, False, False, False, False]) == 1.0


def test_the_scores_of_samples_are_no_scores_of_problems() -> None:
    with pytest.raises(ValueError, match=r"expected one value a problem, found shape \(1, 2\)"):
        bootstrap([[0.5, 1.0]], seed=0)


def test_groups_are_drawn_with_all_their_problems_in_a_case_worked_by_hand() -> None:
    """Of two groups, a draw holds the first twice (mean 1), the second twice (0), or both (2/3)."""
    assert bootstrap_groups([1.0, 1.0, 0.0], ["a", "a", "b"], seed=0) == Estimate(2 / 3, 0.0, 1.0, 2)
    assert bootstrap_groups([0.5] * 4, ["a", "b", "a", "b"], seed=0) == Estimate(0.5, 0.5, 0.5, 2)
    assert bootstrap_groups([], [], seed=0) == Estimate(0.0, 0.0, 0.0, 0)


def test_problems_that_are_alike_within_groups_tell_less_and_groups_of_one_tell_as_much() -> None:
    values = [float(number % 4 == 0) for number in range(400)]
    alone = bootstrap_groups(values, [str(number) for number in range(400)], seed=1)
    plain = bootstrap(values, seed=1)
    assert (alone.value, alone.n) == (plain.value, 400)
    assert alone.low == pytest.approx(plain.low, abs=0.01)
    assert alone.high == pytest.approx(plain.high, abs=0.01)
    alike = bootstrap_groups(sorted(values), [str(number // 20) for number in range(400)], seed=1)
    assert alike.high - alike.low > 2 * (plain.high - plain.low)


@settings(deadline=None)
@given(SHARES)
def test_a_part_counts_once_however_many_problems_it_has(scores: list[float]) -> None:
    one = macro([scores], seed=0, samples=50)
    assert (one.value, one.n) == (bootstrap(scores, seed=0).value, len(scores))
    both = macro([scores, [1.0]], seed=0, samples=50)
    assert both.value == pytest.approx((one.value + 1.0) / 2)
    assert both.low <= both.value + 1e-12
    assert both.high >= both.value - 1e-12


def test_what_a_mean_of_parts_cannot_be_of_is_an_error() -> None:
    assert macro([], seed=0) == Estimate(0.0, 0.0, 0.0, 0)
    for parts in ([[]], [[1.0], [math.nan]]):
        with pytest.raises(ValueError, match="finite values in every part"):
            macro(parts, seed=0)
    with pytest.raises(ValueError, match="a group a value"):
        bootstrap_groups([1.0], ["a", "b"], seed=0)
    with pytest.raises(ValueError, match="finite"):
        bootstrap_groups([math.inf], ["a"], seed=0)
