"""reasoning-gym's own scorers: right at score 1 alone, behind walls."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perseid.graders.grader import Asked, Verdict
from perseid.graders.gym import Gym
from perseid.problems import Gold, Problem
from perseid.problems.sources.gym import entries


@pytest.fixture(scope="module")
def gym() -> Iterator[Gym]:
    grader = Gym()
    yield grader
    grader.close()


def asked(data_set: str, answers: list[str], **config: Any) -> list[Asked]:
    [entry] = entries(data_set, config, 7, 1)
    problem = Problem("p", "gym", "gym", entry["question"])
    gold = Gold("p", {"data_set": data_set, "config": config, "entry": entry})
    return [Asked(problem, gold, answer) for answer in answers]


def verdicts(gym: Gym, questions: list[Asked]) -> list[Verdict]:
    return asyncio.run(gym.grade(questions))


def own(data_set: str) -> str:
    [entry] = entries(data_set, {}, 7, 1)
    return str(entry["answer"])


def test_the_data_set_s_own_answer_is_right_and_others_are_not(gym: Gym) -> None:
    right = own("chain_sum")
    assert verdicts(gym, asked("chain_sum", [right, f"{right}0", "", "x"])) == [True, False, False, False]


def test_a_part_of_the_score_is_not_right(gym: Gym) -> None:
    """Its scorer gives a little for any board."""
    right = own("arc_1d")
    assert verdicts(gym, asked("arc_1d", [right, right[:-1] + "9", "1"])) == [True, False, False]


def test_what_json_made_of_a_board_is_scored_as_the_board(gym: Gym) -> None:
    assert verdicts(gym, asked("rearc", [own("rearc")])) == [True]


def test_a_gold_that_is_none_of_its_data_set_cannot_be_told(gym: Gym) -> None:
    [one] = asked("chain_sum", ["3"])
    others = [Gold("p", "3"), Gold("p", {"data_set": "none", "config": {}, "entry": {}}), Gold("p", {})]
    assert verdicts(gym, [one._replace(gold=gold) for gold in others]) == [None, None, None]


def test_an_answer_that_a_scorer_evaluates_reaches_nothing(gym: Gym, tmp_path: Path) -> None:
    left = tmp_path / "left"
    (tmp_path / "secret").write_text("secret")
    right = own("countdown")
    programs = [
        f"__import__('os').system('touch {left}')",
        f"open('{left}', 'w')",
        f"__import__('os').stat(open('{tmp_path}/secret').read())",
        "__import__('socket').create_connection(('127.0.0.1', 80))",
        "__import__('os').fork()",
    ]
    assert verdicts(gym, asked("countdown", [*programs, right])) == [False] * 5 + [True]
    assert not left.exists()


def test_an_answer_that_ends_the_process_has_no_verdict_and_the_next_has_one(gym: Gym) -> None:
    right = own("countdown")
    found = verdicts(gym, asked("countdown", ["__import__('os')._exit(0)", right]))
    assert found == [None, True]


@pytest.mark.slow
def test_every_data_set_s_own_answer_is_right(gym: Gym) -> None:
    """Where it has one: for some there are many, and the scorer checks each."""
    import reasoning_gym

    lenient = {"game_of_life_halting"}  # whatever is not True is False to its scorer
    wrong = []
    for name in sorted(set(reasoning_gym.factory.DATASETS) - {"composite", *lenient}):
        [entry] = entries(name, {}, 7, 1)
        gold = Gold("p", {"data_set": name, "config": {}, "entry": entry})
        questions = [Asked(Problem("p", "gym", "gym", "?"), gold, answer) for answer in (str(entry["answer"]), "∅")]
        expected = [entry["answer"] is not None, False]
        if (found := verdicts(gym, questions)) != expected:
            wrong.append((name, found))
    assert wrong == []
