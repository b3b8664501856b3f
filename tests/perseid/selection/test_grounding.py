"""Programs that compute what they print from the numbers of their question."""

import pytest

from perseid.selection.grounding import final_operation, is_grounded, numbers_of

QUESTION = "Tom had 1,250 stamps and gave 30.5 % to three friends, 8 each. How many are left?"


@pytest.mark.parametrize(
    ("code", "grounded"),
    [
        ("a = 1250\nb = 8 * 3\nprint(a - b)", True),
        ("print(1250 - 8 * 3)", True),
        ("# 17 is no number of the program\nprint(1250 - 8)", True),
        ("a = 1250\na -= 8\nprint(int(a))", True),
        ("n = numbers(q)\nprint(total(n))", True),
        ("print(1250)", False),
        ("a = 1250\nb = a - 8\nprint(a)", False),
        ("a = 1250 - 8\na = 1250\nprint(round(a))", False),
        ("print(1250 - 7)", False),
        ("print(-8 + 1250.0)", True),
        ("a = 1250 - 8", False),
        ("print(1250 -", False),
        ("", False),
    ],
)
def test_every_number_stands_in_the_question_and_what_is_printed_is_computed(code: str, grounded: bool) -> None:
    assert is_grounded(code, QUESTION) == grounded


@pytest.mark.parametrize(
    ("code", "operation"),
    [
        ("print(9 - 2)", "Sub"),
        ("a = 3 * 4\nb = a - 1\nprint(int(b))", "Sub"),
        ("a = 1\na += 2\nprint(a)", "Add"),
        ("print(total(n))", "total"),
        ("print(3)", ""),
        ("print(3", ""),
    ],
)
def test_the_final_operation_is_the_one_that_makes_what_is_printed(code: str, operation: str) -> None:
    assert final_operation(code) == operation


def test_a_number_may_be_written_in_words() -> None:
    assert numbers_of(QUESTION) == {1250.0, 30.5, 3.0, 8.0}
    assert numbers_of("someone often weighs eleven") == {11.0}
