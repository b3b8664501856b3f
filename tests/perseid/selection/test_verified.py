from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl
import pytest

from perseid.formats import TOOLS
from perseid.problems.problem import Problem
from perseid.sandbox import Execution, Sandbox
from perseid.search import SandboxFailure
from perseid.selection.verified import ancestors, verify
from perseid.tables import frame

PROBLEMS = pl.DataFrame([asdict(Problem(f"p{i}", "toy", "number", f"{i} 5")) for i in range(3)])
STEP, ANSWER = "<|end_of_step|>", "<|end_of_answer|>"
Path = list[tuple[str, str]]  # (text, printed) by step


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(prelude="def double(n):\n    return 2 * n\n") as running:
        yield running


def searched(*found: tuple[str, str, bool, float, float, Path]) -> dict[str, pl.DataFrame]:
    """The tables of trajectories (name, problem, right, mean Q, min Q, path); each in a branch of its own."""
    texts, trajectories = [], []
    for branch, (name, problem_id, correct, mean_q, min_q, path) in enumerate(found, 1):
        node_ids = ancestors(f"0.{branch}" + ".1" * (len(path) - 1))
        texts += [(problem_id, node, text, printed, "") for node, (text, printed) in zip(node_ids, path, strict=True)]
        leaf = (node_ids[-1], path[-1][1].strip(), correct, mean_q, min_q, len(path), 10, 1)
        trajectories.append((name, problem_id, *leaf))
    return {
        "texts": frame("texts", texts),
        "trajectories": frame("trajectories", trajectories),
    }


def program(number: int, printed: str | None = None) -> Path:
    return [(f"a = {number}{STEP}", ""), (f"print(a){ANSWER}", f"{number}\n" if printed is None else printed)]


def kept(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.sort("problem_id", "rank").select("problem_id", "rank", "trajectory_id").rows()


def test_the_best_by_mean_q_then_by_minimum_q_are_kept_for_each_problem(sandbox: Sandbox) -> None:
    tables = searched(
        ("a", "p0", True, 0.5, 0.1, program(1)),
        ("b", "p0", True, 0.9, 0.0, program(2)),
        ("c", "p0", True, 0.5, 0.4, program(3)),
        ("d", "p1", True, 0.1, 0.1, program(4)),
        ("e", "p2", False, 1.0, 1.0, program(5)),
    )
    verified, rejected = verify(tables, PROBLEMS, TOOLS, sandbox, top=2)
    assert kept(verified) == [("p0", 1, "b"), ("p0", 2, "c"), ("p1", 1, "d")]
    assert rejected.rows() == []


def test_a_row_is_the_whole_response_as_the_policy_will_be_trained_on_it(sandbox: Sandbox) -> None:
    path = [(f"# read\na = q.split(){STEP}", ""), (f"# twice\nprint(double(int(a[1]))){ANSWER}", "10\n")]
    verified, _ = verify(searched(("a", "p1", True, 0.5, 0.25, path)), PROBLEMS, TOOLS, sandbox, top=2)
    assert verified.rows(named=True) == [
        {
            "trajectory_id": "a",
            "problem_id": "p1",
            "question": "1 5",
            "response": "# read\na = q.split()<|end_of_step|># twice\nprint(double(int(a[1])))<|end_of_answer|>",
            "answer": "10",
            "mean_q": 0.5,
            "min_q": 0.25,
            "rank": 1,
        }
    ]


def test_a_program_that_cpython_does_not_confirm_is_rejected_and_the_next_takes_its_place(sandbox: Sandbox) -> None:
    tables = searched(
        ("a", "p0", True, 0.9, 0.9, program(1, printed="2\n")),
        ("b", "p0", True, 0.8, 0.8, [(f"print(nowhere){ANSWER}", "3\n")]),
        ("c", "p0", True, 0.7, 0.7, program(3)),
    )
    verified, rejected = verify(tables, PROBLEMS, TOOLS, sandbox, top=1)
    assert kept(verified) == [("p0", 1, "c")]
    assert rejected.rows() == [("a", "p0", "prints something else on CPython"), ("b", "p0", "error on CPython")]


def test_what_earlier_steps_print_must_agree_too(sandbox: Sandbox) -> None:
    path = [(f"print(1){STEP}", "1\n"), (f"print(2){ANSWER}", "2\n")]
    verified, _ = verify(searched(("a", "p0", True, 0.5, 0.5, path)), PROBLEMS, TOOLS, sandbox, top=1)
    assert kept(verified) == [("p0", 1, "a")]


def test_of_equal_programs_the_best_is_kept_whatever_their_comments_say(sandbox: Sandbox) -> None:
    other = [(f"# one\na = 1{STEP}", ""), (f"# out\nprint(a){ANSWER}", "1\n")]
    tables = searched(("a", "p0", True, 0.1, 0.1, program(1)), ("b", "p0", True, 0.2, 0.2, other))
    verified, rejected = verify(tables, PROBLEMS, TOOLS, sandbox, top=2)
    assert kept(verified) == [("p0", 1, "b")]
    assert rejected.rows() == [("a", "p0", "duplicate")]


def test_nothing_right_gives_empty_tables_of_the_same_shape(sandbox: Sandbox) -> None:
    verified, rejected = verify(searched(("a", "p0", False, 0.1, 0.1, program(1))), PROBLEMS, TOOLS, sandbox, top=2)
    assert (verified.shape, rejected.shape) == ((0, 8), (0, 3))


class Broken:
    """A sandbox whose workers are lost."""

    def run_many(self, codes: list[str], tier: str | None = None) -> list[Execution]:
        return [Execution("sandbox_error", "", "worker lost", 0.0, 0.0, None, 0, False, "cpython") for _ in codes]


class Agreeing:
    """An executor that prints what is printed by `program`; it keeps the tiers it was asked for."""

    def __init__(self, answered: int | None = None) -> None:
        self.answered, self.tiers = answered, list[str | None]()

    def run_many(self, codes: Sequence[str], tier: str | None = None) -> list[Execution]:
        self.tiers.append(tier)
        printed = [code.split("a = ")[1].split("\n")[0] + "\n" for code in codes]
        return [Execution("ok", text, None, 0.0, 0.0, None, 0, False, "cpython") for text in printed][: self.answered]


def test_what_trains_a_policy_was_run_on_cpython() -> None:
    sandbox = Agreeing()
    verified, _ = verify(searched(("a", "p0", True, 0.1, 0.1, program(1))), PROBLEMS, TOOLS, sandbox, top=2)
    assert (kept(verified), sandbox.tiers) == ([("p0", 1, "a")], ["cpython"])


def test_fewer_executions_than_programs_are_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        verify(searched(("a", "p0", True, 0.1, 0.1, program(1))), PROBLEMS, TOOLS, Agreeing(answered=0), top=2)


def test_among_equal_q_the_shorter_comes_first_and_then_the_name() -> None:
    tables = searched(*((name, "p0", True, 0.5, 0.5, program(n)) for n, name in enumerate("dcba", 1)))
    tokens = pl.col("trajectory_id").replace_strict({"d": 9, "c": 30, "b": 20, "a": 20}, return_dtype=pl.Int64)
    tables["trajectories"] = tables["trajectories"].with_columns(tokens=tokens)
    verified, _ = verify(tables, PROBLEMS, TOOLS, Agreeing(), top=3)
    assert kept(verified) == [("p0", 1, "d"), ("p0", 2, "a"), ("p0", 3, "b")]


def test_a_failing_sandbox_is_no_verdict_about_a_program() -> None:
    with pytest.raises(SandboxFailure, match="p0: the sandbox failed: worker lost"):
        verify(searched(("a", "p0", True, 0.1, 0.1, program(1))), PROBLEMS, TOOLS, Broken(), top=2)


def test_what_is_not_grounded_is_rejected_before_it_takes_a_place_where_that_is_asked(sandbox: Sandbox) -> None:
    """Every question holds its number and 5."""
    lucky, sound = ("a", "p0", True, 0.9, 0.9, program(5)), [(f"print(0 + 5){ANSWER}", "5\n")]
    tables = searched(lucky, ("b", "p0", True, 0.5, 0.5, sound))
    assert kept(verify(tables, PROBLEMS, TOOLS, sandbox, top=1)[0]) == [("p0", 1, "a")]
    verified, rejected = verify(tables, PROBLEMS, TOOLS, sandbox, top=1, grounded=True)
    assert kept(verified) == [("p0", 1, "b")]
    assert rejected.rows() == [("a", "p0", "not grounded")]


def test_an_operation_that_too_many_end_in_keeps_the_mean_where_that_is_asked(sandbox: Sandbox) -> None:
    """Three sums and one difference: two are the mean. What is left out is the second best of its problem."""
    sums = [(f"print({n} + 5){ANSWER}", f"{n + 5}\n") for n in (0, 1, 2)]
    difference = [(f"print(7 - 5){ANSWER}", "2\n")]
    tables = searched(
        ("a", "p0", True, 0.9, 0.9, [sums[0]]),
        ("b", "p0", True, 0.5, 0.5, [sums[1]]),
        ("c", "p1", True, 0.1, 0.1, [sums[2]]),
        ("d", "p2", True, 0.1, 0.1, difference),
    )
    verified, rejected = verify(tables, PROBLEMS, TOOLS, sandbox, top=2, balance=1.0)
    assert kept(verified) == [("p0", 1, "a"), ("p1", 1, "c"), ("p2", 1, "d")]
    assert rejected.rows() == [("b", "p0", "surplus of its operation")]
