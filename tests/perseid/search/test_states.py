from dataclasses import replace
from typing import Any

from perseid.formats import TOOLS
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.sandbox import State
from perseid.search import run_searches
from perseid.search.rows import tables
from perseid.search.states import States


def state(size: int) -> State:
    return State(("a = 1",), bytes(size))


def test_the_states_used_longest_ago_are_forgotten_first() -> None:
    states = States(max_bytes=5000)
    for number in range(4):
        states.put(number, "0.1", state(1000))
    assert [states.take(number, "0.1") for number in range(4)] == [None, state(1000), state(1000), state(1000)]
    assert states.num_bytes == 0


def test_a_tree_that_ends_takes_its_states_along_and_no_others() -> None:
    states = States()
    for tree, node_id in ((1, "0.1"), (1, "0.2"), (2, "0.1")):
        states.put(tree, node_id, state(10))
    states.drop(1)
    states.drop(3)
    assert (states.take(1, "0.1"), states.take(1, "0.2"), states.take(2, "0.1")) == (None, None, state(10))
    assert states.num_bytes == 0


def test_a_state_larger_than_the_bound_is_not_held() -> None:
    states = States(max_bytes=100)
    states.put(0, "0", state(1000))
    assert (states.take(0, "0"), states.num_bytes) == (None, 0)


def test_forgotten_states_are_made_again_and_the_trees_are_the_same(toy: Any) -> None:
    settings = Settings(candidates=4, rollouts=6, max_depth=4)
    whole = tables(run_searches(toy.problems(5), RStarMath(settings, TOOLS), 7, toy.services(5)))
    services = replace(toy.services(5), state_bytes=1500)
    found = tables(run_searches(toy.problems(5), RStarMath(settings, TOOLS), 7, services))
    assert all(found[name].equals(whole[name]) for name in whole)
