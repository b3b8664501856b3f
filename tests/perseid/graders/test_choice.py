from typing import Any

import pytest

from perseid.graders import equivalent

OPTIONS = {"A": "red", "B": "not blue", "C": "$5$ cm", "D": "Red and green"}


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("[b]", "B"),
        ("B.", "B"),
        ("b)", "B"),
        ("B:", "B"),
        ("**B**", "B"),
        ("**(B)**.", "B"),
        ("$\\text{B}$", "B"),
        ("\\boxed{B}", "B"),
        ("Ｂ", "B"),
        ("Option B", "B"),
        ("choice (b).", "B"),
        ("B) the second", "B"),
        ("(B) the second", "B"),
        ("B: a longer\nremark", "B"),
        ("B", "(B)"),
        ("B", "b) because it was so"),
        ("2", "2"),
        ("(2)", "2"),
        ("B, B", "B"),
        ("A, C", "AC"),
        ("C and A", "A,C"),
        ("(A), (C), and (F)", "\\text{A,C,F}"),
        ("CA", ["A", "C"]),
        ("A & C", ["C", "A"]),
    ],
)
def test_an_option_is_named_in_whatever_dress(answer: str, gold: Any) -> None:
    assert equivalent(answer, gold, "choice") is True


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("A", "B"),
        ("C, not B", "B"),
        ("not B", "B"),
        ("B or C", "B"),
        ("A and B", "B"),
        ("(A) and (B)", "B"),
        ("B) not this one", "B"),
        ("B) or (C)", "B"),
        ("B: C", "B"),
        ("AB", "B"),
        ("BB", "B"),
        ("β", "B"),
        ("Because", "B"),
        ("a bee", "A"),
        ("None of the above", "N"),
        ("I", "A"),
        ("", "B"),
        ("AC", "A"),
        ("A", "AC"),
        ("A, B, C", "AC"),
        ("ac", "AC"),
        ("1", "A"),
        ("B" + " " * 5000 + "C", "B"),
    ],
)
def test_what_names_another_or_several_or_none_is_wrong(answer: str, gold: Any) -> None:
    assert equivalent(answer, gold, "choice") is False


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", True),
        ("not blue", True),
        ("Not  Blue.", True),
        ("B) not blue", True),
        ("(B) NOT BLUE", True),
        ("B) red", False),
        ("B) something else", False),
        ("red", False),
        ("blue", False),
        ("A", False),
    ],
)
def test_where_the_options_are_known_their_texts_count_too(answer: str, right: bool) -> None:
    for gold in ("B", "not blue", 1, ["B"]):
        assert equivalent(answer, {"answer": gold, "options": OPTIONS}, "choice") is right
        assert equivalent(answer, {"answer": gold, "options": [*OPTIONS.values()]}, "choice") is right


def test_the_text_of_an_option_may_look_like_several() -> None:
    assert equivalent("red and green", {"answer": "D", "options": OPTIONS}, "choice") is True
    assert equivalent("5 cm", {"answer": "C", "options": OPTIONS}, "choice") is False
    assert equivalent("$5$ cm", {"answer": "C", "options": OPTIONS}, "choice") is True
    assert equivalent("red", {"answer": "A", "options": ["red", "Red"]}, "choice") is False  # of two


@pytest.mark.parametrize(
    "gold",
    [
        "",
        "none",
        "ab",
        5,
        True,
        None,
        [],
        ["A", "none"],
        {"options": OPTIONS},
        {"answer": "E", "options": OPTIONS},
        {"answer": 4, "options": OPTIONS},
        {"answer": "A", "options": {"AA": "x"}},
        {"answer": "A", "options": {"A": 5}},
        {"answer": "A", "options": ["x"] * 27},
    ],
)
def test_beside_a_gold_that_names_no_option_nothing_can_be_told(gold: Any) -> None:
    assert equivalent("A", gold, "choice") is None


def test_a_number_is_a_label_where_labels_are_digits() -> None:
    gold = {"answer": 1, "options": {"1": "red", "2": "blue"}}
    assert [equivalent("1", gold, "choice"), equivalent("red", gold, "choice"), equivalent("2", gold, "choice")] == [
        True,
        True,
        False,
    ]
    assert equivalent("1", {**gold, "answer": 0}, "choice") is None


def test_of_two_options_with_one_label_nothing_can_be_told() -> None:
    assert equivalent("A", {"answer": "A", "options": {"a": "red", "A": "blue"}}, "choice") is None
