import pytest

from perseid.engine import Completion, Sampling
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER
from perseid.methods.flat import Flat, Settings
from perseid.search.actions import Continue
from perseid.search.method import Standing, Stop, View

WHOLE = "a = 1<|end_of_step|># answer\nprint(a)"


def standing(tokens: int, samples: int, solved: bool | None = None, lead: int = 0) -> Standing:
    return Standing("p", 0, tokens, samples, False, solved, lead)


def flat(**settings: object) -> Flat:
    return Flat(Settings.model_validate(settings), TOOLS)


def test_a_sample_is_a_whole_response() -> None:
    at = View("q", (), (), standing(0, 0), lambda n: tuple(range(n)))
    sampling = Sampling(0.5, 1.0, 24, (END_OF_ANSWER,))
    [action] = flat(samples=4, max_tokens=24, temperature=0.5).actions(at)
    assert action == Continue(TOOLS, sampling, 4, whole=True)


def test_every_sample_is_kept_because_votes_count_them() -> None:
    sample = TOOLS.read_whole(Completion(WHOLE, END_OF_ANSWER, 9))
    assert flat().keep([sample, sample], [sample]) == [sample, sample]


def test_a_budget_of_tokens_decides_how_many_samples_are_drawn() -> None:
    method = Flat(Settings(samples=4), TOOLS, budgets={"p": 100})
    assert [method.width(standing(*at)) for at in ((0, 0), (40, 4), (80, 8), (99, 9))] == [4, 4, 2, 1]
    assert [method.goes_on(standing(tokens, 4)) for tokens in (0, 99, 100)] == [True, True, False]


def test_without_a_budget_it_draws_its_samples_and_more_while_the_problem_is_unsolved() -> None:
    method = flat(samples=4, samples_unsolved=2)
    assert [method.width(standing(9, drawn, False)) for drawn in (0, 4)] == [4, 2]
    assert [method.goes_on(standing(9, drawn, False)) for drawn in (0, 4, 6)] == [True, True, False]
    assert [method.goes_on(standing(9, drawn, True)) for drawn in (0, 4)] == [True, False]


def test_samples_may_be_drawn_a_few_at_a_time() -> None:
    method = flat(samples=5, at_once=2)
    assert [method.width(standing(9, drawn)) for drawn in (0, 2, 4)] == [2, 2, 1]


def test_a_vote_ends_once_it_is_decided_unless_something_else_decides() -> None:
    with pytest.raises(Stop) as stop:
        flat(samples=6, at_once=1).goes_on(standing(9, 4, lead=3))
    assert stop.value.why == "decided"
    assert flat(samples=6, at_once=1).goes_on(standing(9, 4, lead=2))
    assert flat(samples=6, ppm=True).goes_on(standing(9, 4, lead=3))
    assert flat(samples=6).goes_on(standing(9, 4, solved=False, lead=3))


def test_greedy_decoding_is_sampling_without_temperature() -> None:
    assert Flat(Settings(), TOOLS, greedy=True).sampling == Sampling(0.0, 1.0, 96, (END_OF_ANSWER,))


def test_what_changes_its_trees_is_in_its_key() -> None:
    method = Flat(Settings(), TOOLS)
    others = [Flat(Settings(), TOOLS, greedy=True), Flat(Settings(), TOOLS, budgets={"p": 1})]
    assert len({method.key, *(other.key for other in others)}) == 3
