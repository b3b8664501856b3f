from typing import Any

import pytest

from perseid.graders import equivalent


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("yes", True),
        ("TRUE", "yes"),
        ("Yes.", "True"),
        ("**true**", True),
        ("$\\text{Yes}$", "yes"),
        ("no", False),
        ("False", "no"),
        (" No. ", "FALSE"),
    ],
)
def test_yes_and_true_are_one_and_no_and_false(answer: str, gold: Any) -> None:
    assert equivalent(answer, gold, "boolean") is True


@pytest.mark.parametrize("gold", [True, "yes", "True", False, "no"])
@pytest.mark.parametrize(
    "answer",
    [
        "1",
        "0",
        "Yes and no",
        "Yes, since 2 > 1",
        "not false",
        "None",
        "Know",
        "maybe",
        "t",
        "y",
        "",
        "真",
        "yes" + " " * 5000 + "no",
    ],
)
def test_what_says_more_or_less_is_wrong(answer: str, gold: Any) -> None:
    assert equivalent(answer, gold, "boolean") is False


@pytest.mark.parametrize("gold", [1, 0, "1", "maybe", "", None, ["yes"]])
def test_beside_a_gold_that_is_neither_nothing_can_be_told(gold: Any) -> None:
    assert equivalent("yes", gold, "boolean") is None
