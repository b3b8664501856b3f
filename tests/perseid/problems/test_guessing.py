"""What the first rows of a file seem to hold."""

from typing import Any

import pytest

from perseid.errors import UserError
from perseid.problems.guessing import Guess, guessed, kind_of


def rows(*values: tuple[Any, ...], names: str) -> list[dict[str, Any]]:
    return [dict(zip(names.split(), row, strict=True)) for row in values]


def test_a_worked_solution_ends_behind_its_marker() -> None:
    found = guessed(
        rows(("Two and two?", "2+2=4\n#### 4"), ("A dozen?", "Twelve.\n#### 12"), names="question answer"), "f"
    )
    assert found == Guess({"question": "question", "gold": "answer"}, "number", "####", numeric=True)


def test_columns_go_by_their_names_in_whatever_case_and_order() -> None:
    found = guessed(rows((7, "5.0", "Five?", "easy"), (8, "6", "Six?", "hard"), names="ID Solution Problem Level"), "f")
    assert found == Guess(
        {"question": "Problem", "gold": "Solution", "id": "ID"}, "number", facets=("Level",), numeric=True
    )


def test_numbers_that_are_written_in_groups_are_numbers_that_the_kind_math_reads() -> None:
    found = guessed(rows(("Many?", "1,450"), ("More?", "$5"), names="question answer"), "f")
    assert found == Guess({"question": "question", "gold": "answer"}, "math", numeric=True)


def test_an_id_that_is_not_one_of_each_row_is_none() -> None:
    assert "id" not in guessed(rows((1, "a?", "b"), (1, "c?", "d"), names="id question answer"), "f").columns


def test_a_short_answer_is_preferred_to_a_solution() -> None:
    solved = rows(("Half?", r"It is \boxed{\frac12}.", r"\frac12"), names="problem solution answer")
    assert guessed(solved, "f") == Guess({"question": "problem", "gold": "answer"}, "math")


def test_columns_of_options_make_a_question_of_several_columns() -> None:
    asked = rows(("Red?", "x", "y", "B"), ("Blue?", "z", "w", "A"), names="question A B answer")
    assert guessed(asked, "f") == Guess(
        {"question": "question", "gold": "answer"}, "choice", template="{{ question }}\nA) {{ A }}\nB) {{ B }}"
    )


def test_a_column_that_no_template_can_name_is_asked_alone_and_that_is_said() -> None:
    row = {"The long question": "Which of these is red?", "A": "sky", "B": "rose", "answer": "B"}
    told = "A, B are not told: a template names columns, and 'The long question' is no name in Jinja"
    assert guessed([row], "x") == Guess({"question": "The long question", "gold": "answer"}, "choice", unsure=(told,))


def test_two_columns_without_a_name_in_use_are_told_apart_by_length() -> None:
    found = guessed(rows(("What is the capital of France?", "Paris"), names="frage antwort"), "f")
    assert found == Guess({"question": "frage", "gold": "antwort"}, "text")


def test_tests_and_the_function_that_they_call_are_the_gold_of_programs() -> None:
    held = rows(("f/0", "def f():", "x" * 41, "f", "assert f()"), names="task_id prompt canonical entry_point test")
    gold = {"tests": "test", "entry_point": "entry_point"}
    assert guessed(held, "f") == Guess({"question": "prompt", "gold": gold, "id": "task_id"}, "code")
    listed = rows(("Write f.", "def f(): 1", ["assert f()"]), names="text code test_list")
    assert guessed(listed, "f") == Guess({"question": "text", "gold": {"tests": "test_list"}}, "code")


def test_what_a_person_should_look_at_is_said() -> None:
    [long] = guessed(rows(("Why?", "x" * 41), names="prompt solution"), "f").unsure
    assert long == "solution has answers of up to 41 characters: is it a worked solution (gold_after)?"


@pytest.mark.parametrize("names", ["question other stuff", "left middle right"])
def test_a_file_in_which_nothing_asks_or_knows_is_one_line_with_its_columns(names: str) -> None:
    with pytest.raises(UserError) as error:
        guessed(rows(("a", "b", "c"), names=names), "mine.jsonl")
    expected = f"a column that asks and one that knows the answer, found {', '.join(names.split())}"
    assert str(error.value) == f"mine.jsonl: columns: expected {expected}"
    with pytest.raises(UserError, match="found none"):
        guessed([], "mine.jsonl")


@pytest.mark.parametrize(
    ("golds", "kind"),
    [
        (["1", "2.5", "-3", "7/8"], "number"),
        (["1", "2.5", "-3", "1,234", "$5", "7/8", "50%"], "math"),
        (["True", "no"], "boolean"),
        (["A", "(B)", "c".upper() + "."], "choice"),
        ([r"\frac{1}{2}", "3", "x^2", "2 x + 1"], "math"),
        (["Paris", "3"], "text"),
        ([], "text"),
    ],
)
def test_kinds(golds: list[str], kind: str) -> None:
    assert kind_of(golds) == kind
