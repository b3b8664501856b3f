"""What is drawn where nobody verifies: distinct answers, right or not, as many as are asked for."""

from typing import Any

import polars as pl

from perseid.formats import TOOLS
from perseid.selection.unverified import draw
from perseid.tables import frame

END = "<|end_of_answer|>"
PROBLEMS = pl.DataFrame({"problem_id": ["p0", "p1", "p2"], "question": ["a", "b", "c"]})


def searched(*found: tuple[str, str, bool]) -> dict[str, pl.DataFrame]:
    """Answers of one step: (problem, its program, right)."""
    texts, leaves = [], []
    for n, (problem_id, program, correct) in enumerate(found, 1):
        texts.append((problem_id, f"0.{n}", f"{program}{END}", "1\n", ""))
        leaves.append((f"{n:016x}", problem_id, f"0.{n}", "1", correct, 0.0, 0.0, 1, 5, 1))
    return {"texts": frame("texts", texts), "trajectories": frame("trajectories", leaves)}


MANY = searched(*((f"p{n % 3}", f"print({n})", n % 2 == 0) for n in range(30)))


def drawn(tables: dict[str, pl.DataFrame], top: int, count: int, seed: int = 0) -> list[dict[str, Any]]:
    return draw(tables, PROBLEMS, TOOLS, top, count, seed).to_dicts()


def test_a_row_is_the_whole_response_with_its_question_answer_and_verdict() -> None:
    assert drawn(searched(("p1", "print(1)", False)), 2, 5) == [
        {
            "trajectory_id": f"{1:016x}",
            "problem_id": "p1",
            "question": "b",
            "response": f"print(1){END}",
            "answer": "1",
            "correct": False,
        }
    ]


def test_no_more_than_are_asked_for_and_no_more_than_the_top_of_a_problem() -> None:
    assert len(drawn(MANY, top=10, count=7)) == 7
    rows = drawn(MANY, top=2, count=100)
    assert sorted(row["problem_id"] for row in rows) == ["p0", "p0", "p1", "p1", "p2", "p2"]
    assert drawn(MANY, top=2, count=0) == []


def test_right_and_wrong_are_drawn_alike() -> None:
    verdicts = [row["correct"] for seed in range(40) for row in drawn(MANY, top=1, count=3, seed=seed)]
    assert 0.3 < sum(verdicts) / len(verdicts) < 0.7


def test_equal_programs_count_once_whatever_their_comments_say() -> None:
    assert len(drawn(searched(("p0", "print(1)", True), ("p0", "# one\nprint(1)", False)), 5, 5)) == 1
    assert len(drawn(searched(("p0", "print(1)", True), ("p1", "print(1)", False)), 5, 5)) == 2


def test_a_seed_draws_the_same_whatever_the_order_of_rows_and_another_seed_another() -> None:
    turned = {name: rows.reverse() for name, rows in MANY.items()}
    assert drawn(MANY, 2, 4) == drawn(turned, 2, 4)
    assert len({str(drawn(MANY, 2, 4, seed)) for seed in range(8)}) > 1
