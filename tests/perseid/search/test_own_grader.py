"""A search whose answers a grader of the user's own judges, in its own process: trees, counts and journal."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perseid.formats import TOOLS
from perseid.graders import BUILT_IN, Judge
from perseid.graders.own import Own, OwnGrader
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.search import run_searches
from perseid.search.rows import tables

METHOD = RStarMath(Settings(candidates=4, rollouts=8, rollouts_unsolved=4, max_depth=4), TOOLS)
SAME = "[float(a == gold) for a in answers]"


@pytest.fixture
def judge(toy: Any, tmp_path: Path) -> Iterator[Any]:
    opened = []

    def of(returned: str) -> Judge:
        path = tmp_path / "grade.py"
        path.write_text(f"import os\ndef grade(question, gold, answers):\n    return {returned}\n")
        opened.append(OwnGrader("mine", Own(python=str(path), timeout_s=30.0)))
        problems = [replace(problem, kind="mine") for problem in toy.problems(6)]
        return Judge(problems, toy.gold(6), {**BUILT_IN, "mine": opened[-1]})

    yield of
    for grader in opened:
        grader.close()


def searched(toy: Any, judge: Any, journals: Path | None = None) -> dict[str, Any]:
    return tables(run_searches(toy.problems(6), METHOD, 7, toy.services(6, grader=judge), journals))


def test_it_grades_as_the_grader_that_says_the_same(toy: Any, judge: Any) -> None:
    own, built_in = searched(toy, judge(SAME)), searched(toy, toy.services(6).grader)
    assert {name: frame.rows() for name, frame in own.items()} == {n: frame.rows() for n, frame in built_in.items()}
    assert own["searches"]["solved"].any()


@pytest.mark.parametrize("fault", ["1 / 0", "os._exit(1)", "[None] * len(answers)"])
def test_one_that_always_fails_solves_nothing_and_stops_nothing(toy: Any, judge: Any, fault: str) -> None:
    found = searched(toy, judge(fault))
    assert not found["searches"]["solved"].any()
    assert found["searches"]["untold"].sum() == found["searches"]["answers"].sum() > 0
    assert found["trajectories"].is_empty()


def test_the_journal_of_another_content_is_not_gone_on_with(toy: Any, judge: Any, tmp_path: Path) -> None:
    wrong = searched(toy, judge("[0.0 for a in answers]"), tmp_path / "journals")
    assert not wrong["searches"]["solved"].any()
    right = judge(SAME)
    once = searched(toy, right, tmp_path / "journals")
    assert once["searches"]["solved"].any()
    asked = right.asked.total()
    assert searched(toy, right, tmp_path / "journals")["searches"].equals(once["searches"])
    assert right.asked.total() == asked > 0
