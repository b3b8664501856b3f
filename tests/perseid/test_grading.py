import threading
import time
from fractions import Fraction

import pytest

from perseid.errors import UserError
from perseid.grading import LATEX_TIMEOUT_S, Grader, equivalent, number


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("12", "12"),
        (" 12\n", "12"),
        ("12.0", "12"),
        ("0.10", ".1"),
        ("+7", "7"),
        ("007", "7"),
        ("1/2", "0.5"),
        ("-3/6", "-1/2"),
        ("olleh", "olleh"),
        ("123456789012345678901234567890", "123456789012345678901234567890.00"),
    ],
)
def test_equal_texts_and_equal_numbers_are_the_same_answer(answer: str, gold: str) -> None:
    assert equivalent(answer, gold)
    assert equivalent(gold, answer)


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("0.3333333333", "1/3"),
        ("12.0000001", "12"),
        ("1200", "12"),
        ("0.12", "12"),
        ("0.30000000000000004", "0.3"),
        ("10000000000000001", "10000000000000000"),
        ("1e1", "10"),
        ("12 apples", "12"),
        ("x=12", "12"),
        ("Olleh", "olleh"),
        ("True", "1"),
        ("nan", "0"),
        ("1/0", "0"),
        ("", "0"),
        ("١٢", "13"),
    ],
)
def test_nearly_equal_is_wrong(answer: str, gold: str) -> None:
    assert not equivalent(answer, gold)
    assert not equivalent(gold, answer)


def test_numbers_are_exact_and_bounded() -> None:
    assert number("0.1") == Fraction(1, 10)
    assert [number(text) for text in ("1e9", "inf", "1_000", "9" * 3000, "--1", "1/2/3")] == [None] * 6


def test_grading_is_by_problem_and_in_order() -> None:
    grader = Grader({"p": "2", "r": "x"})
    assert grader.grade("p", ["2", "3", "2.0", "x"]) == [True, False, True, False]
    assert grader.grade("r", []) == []


def test_a_problem_without_gold_is_named() -> None:
    with pytest.raises(UserError, match="gold: q7: expected an answer"):
        Grader({"p": "1"}).grade("q7", ["1"])


def test_a_grader_does_not_tell_its_gold() -> None:
    assert repr(Grader({"p": "secret"})) == "Grader(1 problems)"


@pytest.mark.slow
def test_latex_is_compared_as_mathematics_from_any_thread() -> None:
    verdicts: list[bool] = []
    thread = threading.Thread(target=lambda: verdicts.append(equivalent(r"\frac{1}{2}", "0.5")))
    thread.start()
    thread.join()
    assert verdicts == [True]
    assert equivalent(r"$x^{2}+2x+1$", r"(x+1)^{2}")
    assert not equivalent(r"\frac{1}{3}", r"\frac{1}{2}")
    assert not equivalent("$", "1")


@pytest.mark.slow
def test_latex_that_takes_too_long_is_wrong_and_the_next_is_graded() -> None:
    started = time.monotonic()
    assert not equivalent("$3000000!$", r"\frac{1}{2}")
    assert LATEX_TIMEOUT_S <= time.monotonic() - started < 4 * LATEX_TIMEOUT_S
    assert equivalent(r"\sqrt{4}", "2")
