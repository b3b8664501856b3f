"""The numbers are those of the specification, section 10, worked by hand."""

import math
from typing import Any

import pytest

from perseid.engine import Sampling
from perseid.formats import TOOLS, Draft
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP
from perseid.methods.rstar_math import RStarMath, Settings, uct
from perseid.search.actions import Continue
from perseid.search.method import Leaf, Rated, Standing
from perseid.search.tree import Stats

PARITY = RStarMath(Settings(unvisited="zero", tie="first"), TOOLS)
DEFAULT = RStarMath(Settings(), TOOLS)


def never(n: int) -> int:
    raise AssertionError("nothing to draw")


def near(value: float) -> object:
    return pytest.approx(value, abs=5e-6)


def test_uct_of_visited_children_is_the_published_formula() -> None:
    assert uct(Stats(3, 1.0), 4, 2.0, "zero") == near(1.69289)
    assert uct(Stats(1, -1.0), 4, 2.0, "zero") == near(1.35482)
    assert uct(Stats(1, -1.0), 2, 2.0, "zero") == near(0.66511)


def test_uct_of_an_unvisited_child_is_zero_under_parity_and_infinite_by_default() -> None:
    assert uct(Stats(), 4, 2.0, "zero") == 0.0
    assert uct(Stats(), 4, 2.0, "inf") == math.inf


def test_uct_has_no_exploration_term_while_the_parent_is_unvisited() -> None:
    assert uct(Stats(1, 0.6), 0, 2.0, "zero") == 0.6
    assert uct(Stats(1, 0.6), 0, 2.0, "inf") == 0.6


def test_parity_prefers_a_wrong_child_to_an_unvisited_one_and_the_default_does_not() -> None:
    children = [Stats(), Stats(1, -1.0)]
    assert PARITY.next(Stats(4, 0.0), children, False, never) == 1
    assert DEFAULT.next(Stats(4, 0.0), children, False, never) == 0


def answer(reward: float | None) -> Leaf:
    return Leaf(Draft("", ends=True), Stats(status="answer"), reward)


def backed_up(path: list[Stats], *new: Leaf) -> None:
    at: Any = None  # it is not looked at
    assert list(DEFAULT.grown(at, path, new)) == []


def test_a_prior_counts_as_one_visit_and_answers_below_add_to_it() -> None:
    node, root = Stats(prior=0.6), Stats(2, 0.0)
    DEFAULT.enter(node)
    assert (node.visits, node.value_sum, node.q) == (1, 0.6, 0.6)
    for correct in (True, False):
        backed_up([node, root], answer(DEFAULT.reward(correct, 0.9)))
    assert (node.visits, node.q) == (3, near(0.2))
    assert uct(node, 5, 2.0, "zero") == near(1.66489)


def test_answers_are_worth_one_or_minus_one_to_the_whole_path_the_root_included() -> None:
    path = [Stats(), Stats()]
    new = [answer(DEFAULT.reward(correct, None)) for correct in (True, True, False)]
    backed_up(path, *new, answer(None))
    assert [(s.visits, s.value_sum) for s in path] == [(3, 1.0), (3, 1.0)]
    assert [(leaf.stats.visits, leaf.stats.value_sum) for leaf in new] == [(1, 1.0), (1, 1.0), (1, -1.0)]


@pytest.mark.parametrize("status", ["error", "too_deep", "unparsable"])
def test_an_invalid_end_is_minus_one_to_itself_only(status: str) -> None:
    node = Stats(status=status, prior=0.3)  # type: ignore[arg-type]
    DEFAULT.enter(node)
    assert (node.visits, node.value_sum) == (1, -1.0)


def test_without_a_prior_an_interior_node_starts_unvisited() -> None:
    node = Stats()
    DEFAULT.enter(node)
    assert (node.visits, node.value_sum) == (0, 0.0)


def test_without_gold_the_ppm_rewards_an_answer_and_without_ppm_nothing_does() -> None:
    assert DEFAULT.reward(None, 0.25) == 0.25
    assert DEFAULT.reward(None, None) == 0.0


def test_ties_go_to_the_first_child_under_parity_and_are_drawn_by_default() -> None:
    children = [Stats(1, -1.0), Stats(), Stats()]
    assert PARITY.next(Stats(0, 0.0), children[1:], False, never) == 0
    assert [DEFAULT.next(Stats(1, 0.0), children, False, lambda n, k=k: k % n) for k in range(3)] == [1, 2, 1]


def step(text: str, ends: bool = False) -> Draft:
    return Draft(text, text, ends=ends, tokens=1)


def test_parity_keeps_the_first_answer_alone_and_drops_every_other_sample() -> None:
    samples = [step("a"), step("b", True), step("c", True), step("a")]
    assert PARITY.keep(samples, []) == [step("b", True)]


def test_samples_keep_their_order_and_lose_their_duplicates() -> None:
    samples = [step("a"), step("b"), step("a"), step("c")]
    assert PARITY.keep(samples, []) == [step("a"), step("b"), step("c")]
    assert DEFAULT.keep(samples, [step("b")]) == [step("a"), step("c")]


def test_by_default_answers_stand_beside_other_steps_and_comments_make_no_difference() -> None:
    samples = [step("# x\na = 1"), step("# y\na = 1"), step("print(a)", True), step("print(a)"), step("print(b)", True)]
    assert DEFAULT.keep(samples, []) == [samples[0], samples[2], samples[3], samples[4]]
    assert PARITY.keep(samples[:2], []) == samples[:2]


def standing(rollouts: int, exhausted: bool, solved: bool | None) -> Standing:
    return Standing("p", rollouts, 0, 0, exhausted, solved)


def test_further_rollouts_are_for_unsolved_problems_only() -> None:
    method = RStarMath(Settings(rollouts=2, rollouts_unsolved=3), TOOLS)
    assert [method.goes_on(standing(n, False, False)) for n in (1, 2, 4, 5)] == [True, True, True, False]
    assert [method.goes_on(standing(n, False, True)) for n in (1, 2)] == [True, False]
    assert [method.goes_on(standing(n, False, None)) for n in (1, 2)] == [True, False]


def test_an_exhausted_tree_is_sampled_anew_only_while_unsolved_and_never_under_parity() -> None:
    assert DEFAULT.goes_on(standing(1, True, False))
    assert not DEFAULT.goes_on(standing(1, True, True))
    assert not DEFAULT.goes_on(standing(1, True, None))
    assert not PARITY.goes_on(standing(1, True, False))


def test_the_best_q_picks_the_answer_and_frequency_decides_among_equals() -> None:
    assert DEFAULT.pick([Rated("1", 0.1), Rated("2", 0.4), Rated("1", 0.2)]) == "2"
    assert DEFAULT.pick([Rated("1", 0.0), Rated("2", 0.0), Rated("2", 0.0)]) == "2"
    assert DEFAULT.pick([]) is None


def test_sampling_stops_at_either_delimiter() -> None:
    settings = Settings(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.2, max_step_tokens=11)
    sampling = Sampling(0.7, 0.9, 11, (END_OF_STEP, END_OF_ANSWER), 5, 0.1, 1.2)
    assert RStarMath(settings, TOOLS).step == Continue(TOOLS, sampling, 6)
