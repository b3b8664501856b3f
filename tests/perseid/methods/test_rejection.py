from dataclasses import replace

from perseid.engine import Completion, Sampling
from perseid.experiment import Search
from perseid.formats.tools import END_OF_ANSWER
from perseid.methods.rejection import METHOD
from perseid.search.method import Standing

WHOLE = "a = 1<|end_of_step|># answer\nprint(a)"


def standing(tokens: int, samples: int, rollouts: int = 0, solved: bool | None = None) -> Standing:
    return Standing("p", rollouts, tokens, samples, False, solved)


def test_a_sample_may_be_as_long_as_all_steps_together() -> None:
    assert METHOD.sampling(Search(max_step_tokens=8, max_depth=3)) == Sampling(1.0, 1.0, 24, (END_OF_ANSWER,))


def test_every_sample_is_kept_because_votes_count_them() -> None:
    sample = METHOD.parse(Completion(WHOLE, END_OF_ANSWER, 9))
    assert METHOD.keep([sample, sample], [sample], Search()) == [sample, sample]


def test_a_budget_of_tokens_decides_how_many_samples_are_drawn() -> None:
    method, settings = replace(METHOD, budgets={"p": 100}), Search(candidates=4)
    assert [method.width(standing(*at), settings) for at in ((0, 0), (40, 4), (80, 8), (99, 9))] == [4, 4, 2, 1]
    assert [method.goes_on(standing(tokens, 4), settings) for tokens in (0, 99, 100)] == [True, True, False]


def test_without_a_budget_it_draws_candidates_in_every_rollout() -> None:
    settings = Search(candidates=4, rollouts=2, rollouts_unsolved=1)
    assert METHOD.width(standing(40, 4), settings) == 4
    assert [METHOD.goes_on(standing(9, 4, n, False), settings) for n in (1, 2, 3)] == [True, True, False]
    assert [METHOD.goes_on(standing(9, 4, n, True), settings) for n in (1, 2)] == [True, False]


def test_at_temperature_zero_it_is_greedy_decoding() -> None:
    assert replace(METHOD, temperature=0.0).sampling(Search()).temperature == 0.0


def test_what_changes_its_trees_is_in_its_key() -> None:
    keys = {METHOD.key, replace(METHOD, temperature=0.5).key, replace(METHOD, budgets={"p": 1}).key}
    assert len(keys) == 3
