import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from perseid.errors import UserError
from perseid.graders import BUILT_IN, Asked, Judge, Verdict, equivalent, unreadable
from perseid.graders.numbers import MAX_LENGTH, number
from perseid.problems import Gold, Problem

LONG = "9" * MAX_LENGTH


@pytest.mark.parametrize(
    ("kind", "answer", "gold"),
    [
        ("number", "12", "12"),
        ("number", " 12\r\n", "12"),
        ("number", "12.0", "12"),
        ("number", "12.", "12"),
        ("number", "0.10", ".1"),
        ("number", "+7", "7"),
        ("number", "007", "7"),
        ("number", "-0", "0"),
        ("number", "1/2", "0.5"),
        ("number", "-3/6", "-1/2"),
        ("number", "48/2", "24"),
        ("number", "123456789012345678901234567890", "123456789012345678901234567890.00"),
        ("number", LONG, LONG),
        ("number", "2125", "2,125"),
        ("number", "2,125", "2,125"),
        ("decimal", "1250.50", "1,250.5"),
        ("decimal", "18", "18.0"),
        ("decimal", "-17.640", "-17.64"),
        ("fraction", "5/7", "5/7"),
        ("fraction", " +5/7\n", "5/7"),
        ("fraction", "-1/2", "-1/2"),
        ("fraction", "3", "3/1"),
        ("text", "olleh\n", "olleh"),
        ("text", "2 × 2 × 3", "2 × 2 × 3"),
        ("text", "$", "$"),
    ],
)
def test_what_is_the_same_by_the_gold_s_kind_is_right(kind: str, answer: str, gold: str) -> None:
    assert equivalent(answer, gold, kind) is True


@pytest.mark.parametrize(
    ("kind", "answer", "gold"),
    [
        ("number", "0.3333333333", "1/3"),
        ("number", "12.0000001", "12"),
        ("number", "1200", "12"),
        ("number", "0.12", "12"),
        ("number", "0.30000000000000004", "0.3"),
        ("number", "10000000000000001", "10000000000000000"),
        ("number", "1e2", "100"),
        ("number", "0x18", "24"),
        ("number", "2_4", "24"),
        ("number", "1,234", "1234"),
        ("number", "1 234", "1234"),
        ("number", "2,15", "2,015"),
        ("number", "21,25", "2,125"),
        ("fraction", "2,125", "2125"),
        ("number", "--24", "24"),
        ("number", "+ 24", "24"),
        ("number", "5 / 7", "5/7"),
        ("number", "24 apples", "24"),
        ("number", "24\n24", "24"),
        ("number", "x=24", "24"),
        ("number", "(24)", "24"),
        ("number", "50%", "0.5"),
        ("number", "True", "1"),
        ("number", "nan", "0"),
        ("number", "1/0", "0"),
        ("number", "", "0"),
        ("number", "٢٤", "24"),
        ("number", "²", "2"),
        ("number", "24" + "0" * MAX_LENGTH, "24"),
        ("decimal", "1154/100", "11.54"),
        ("decimal", "11.539999999999999", "11.54"),
        ("fraction", "80/112", "5/7"),
        ("fraction", "10/14", "5/7"),
        ("fraction", "0.714285", "5/7"),
        ("fraction", "0.5", "1/2"),
        ("fraction", "5/7.", "5/7"),
        ("fraction", "-5/-7", "5/7"),
        ("fraction", "0/0", "5/7"),
        ("text", "Olleh", "olleh"),
        ("text", "0101", "101"),
        ("text", "101.0", "101"),
        ("text", "1:02:03", "01:02:03"),
        ("text", "3 × 2 × 2", "2 × 2 × 3"),
        ("text", "b,a", "b, a"),
        ("text", "", "olleh"),
    ],
)
def test_what_is_nearly_the_same_is_wrong(kind: str, answer: str, gold: str) -> None:
    assert equivalent(answer, gold, kind) is False


@pytest.mark.parametrize(
    ("kind", "answer", "gold"),
    [
        ("number", r"$\gcd(168,360)$", "24"),
        ("number", "$24$", "24"),
        ("number", r"\boxed{24}", "24"),
        ("number", "$0.333333$", "1/3"),
        ("number", r"$50\%$", "0.5"),
        ("decimal", r"$\frac{1}{2}$", "0.5"),
        ("fraction", r"$\frac{80}{112}$", "5/7"),
        ("text", "$olleh$", "hello"),
        ("text", "$hello$", "hello"),
    ],
)
def test_an_answer_s_dress_buys_it_no_other_comparison(kind: str, answer: str, gold: str) -> None:
    assert equivalent(answer, gold, kind) is False


@pytest.mark.parametrize(
    ("kind", "gold"), [("number", "1/0"), ("number", "24 apples"), ("fraction", "10/14"), ("decimal", "1/2")]
)
def test_beside_a_gold_that_is_not_of_its_kind_nothing_can_be_told(kind: str, gold: str) -> None:
    assert equivalent(gold, gold, kind) is None
    assert equivalent("24", gold, kind) is None


@pytest.mark.parametrize("kind", ["number", "decimal", "fraction", "text", "math"])
def test_beside_an_empty_gold_nothing_can_be_told(kind: str) -> None:
    assert equivalent("", " ", kind) is None


@pytest.mark.parametrize("kind", ["number", "decimal", "fraction", "text", "math"])
def test_a_gold_may_be_a_number_that_no_float_holds(kind: str) -> None:
    gold = [Gold("p", 10**400)]
    judge = Judge([Problem("p", "", kind, "?")], gold, BUILT_IN)
    assert unreadable(kind, 10**400) is None
    assert asyncio.run(judge.grade("p", [f"1{'0' * 400}", f"1{'0' * 399}"])) == [True, False]


def test_numbers_are_exact_and_bounded() -> None:
    assert number("0.1") == Fraction(1, 10)
    assert number(LONG) == int(LONG)
    assert [number(text) for text in ("1e9", "inf", "1_000", LONG + "9", "--1", "1/2/3")] == [None] * 6


def problem(name: str, kind: str) -> Problem:
    return Problem(name, "toy", kind, "?")


def judge(*asked: tuple[str, str, str]) -> Judge:
    """Of problems by name, gold and kind."""
    return Judge([problem(name, kind) for name, _, kind in asked], [Gold(name, gold) for name, gold, _ in asked])


def test_grading_is_by_problem_and_in_order() -> None:
    several = judge(("p", "2", "number"), ("r", "x", "text"), ("s", "x", "number"), ("t", "1", "math"))
    assert asyncio.run(several.grade("p", ["2", "3", "2.0", "x"])) == [True, False, True, False]
    assert asyncio.run(several.grade("s", ["x", "3"])) == [None, None]
    assert asyncio.run(several.grade("t", ["1.0", "", "2"])) == [True, False, False]
    assert asyncio.run(several.grade("r", [])) == []


def test_a_kind_that_often_cannot_be_told_is_warned_of_at_each_tenfold(caplog: pytest.LogCaptureFixture) -> None:
    problems = [Problem("p", "s", "number", "?"), Problem("q", "s", "text", "?")]
    several = Judge(problems, [Gold("p", "none"), Gold("q", "x")])
    asyncio.run(several.grade("q", ["x"] * 1000))
    for answers in (4, 1, 44, 1, 1):
        asyncio.run(several.grade("p", ["1"] * answers))
    told = "it cannot be told whether they are right: they are no reward and train nobody"
    assert [record.getMessage() for record in caplog.records] == [
        f"of 5 of 5 answers (100%) of the kind number {told}",
        f"of 50 of 50 answers (100%) of the kind number {told}",
    ]
    assert (several.asked, several.untold) == ({"number": 51, "text": 1000}, {"number": 51})


def test_one_in_twenty_that_cannot_be_told_is_not_warned_of(caplog: pytest.LogCaptureFixture, asked: Any) -> None:
    class Unsure:
        key = "unsure"

        async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
            return [None if each.answer == "?" else True for each in asked]

    judge = Judge([Problem("p", "s", "odd", "?")], [Gold("p", "")], {"odd": Unsure()})
    asyncio.run(judge.grade("p", ["x"] * 95))
    asyncio.run(judge.grade("p", ["?"] * 5))
    assert caplog.records == []
    asyncio.run(judge.grade("p", ["?"] * 45))
    assert [record.getMessage()[:37] for record in caplog.records] == ["of 50 of 145 answers (34%) of the kin"]


def test_a_problem_of_a_kind_without_a_grader_is_refused() -> None:
    with pytest.raises(UserError, match=r"problems: kind: expected one of number, .*, found odd"):
        Judge([Problem("p", "s", "odd", "?")], [Gold("p", "1")])


def test_a_problem_without_gold_is_named() -> None:
    with pytest.raises(UserError, match="gold: q7: expected an answer"):
        asyncio.run(judge(("p", "1", "number")).grade("q7", ["1"]))


def test_a_judge_does_not_tell_its_gold() -> None:
    assert repr(judge(("p", "secret", "text"))) == "Judge(1 problems)"


def test_a_judge_s_version_is_that_of_each_gold_with_its_kind_and_grader_in_any_order() -> None:
    one, two = ("p", "1", "number"), ("q", "2", "number")
    version = judge(one, two).version
    assert len(version) == 16
    assert int(version, 16) >= 0
    assert judge(two, one).version == version
    others = [[one], [one, ("q", "3", "number")], [one, ("q", "2", "text")], [one, ("r", "2", "number")]]
    raised = {**BUILT_IN, "number": replace(BUILT_IN["number"], key="next")}
    unused = {**BUILT_IN, "text": replace(BUILT_IN["text"], key="next")}
    problems, gold = [problem(name, "number") for name in "pq"], [Gold("p", "1"), Gold("q", "2")]
    assert Judge(problems, gold, unused).version == version
    assert len({version, Judge(problems, gold, raised).version, *(judge(*g).version for g in others)}) == 6


@pytest.mark.parametrize(
    ("kind", "gold", "expected"),
    [
        ("number", "24", None),
        ("number", 24, None),
        ("number", "twelve", "expected a number, an integer, a decimal or a fraction"),
        ("number", True, "expected a number, an integer, a decimal or a fraction"),
        ("fraction", "2/4", "expected an integer or a fraction in lowest terms"),
        ("decimal", "1/2", "expected an integer or a decimal"),
        ("text", "", "expected a text that is not empty"),
        ("text", 5, None),
        ("math", r"\frac{", None),
        ("math", " ", "expected a text that is not empty, of at most 4,096 characters"),
        ("choice", "B", None),
        ("choice", "none", "expected an option's letter, or an object with answer and options"),
        ("boolean", False, None),
        ("boolean", 0, "expected yes, true, no or false"),
        ("code", ["assert f(1)"], None),
        ("code", 5, "expected tests"),
        ("mine", None, None),
    ],
)
def test_a_gold_that_cannot_be_read_is_known_before_any_answer(kind: str, gold: Any, expected: str | None) -> None:
    assert unreadable(kind, gold) == expected
