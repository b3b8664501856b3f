"""The interface: statuses, order, steps, the prelude, and which tier answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perseid.sandbox import Limits, Sandbox, State

PRELUDE = "def rotate(grid):\n    return [list(row) for row in zip(*grid[::-1])]\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=2.0), prelude=PRELUDE, preload=()) as opened:
        yield opened


CASES = [
    ("print(1 + 1)", "ok", "2\n"),
    ("print(3)\n1 / 0", "error", "3\n"),
    ("def f(:", "error", ""),
    ("import sys\nprint(4)\nsys.exit(0)", "exited", "4\n"),
    ("import os\nos._exit(0)", "exited", ""),
    ("import ctypes\nctypes.string_at(0)", "crashed", ""),
    ("x = 'a' * 10**10", "memory", ""),
]


@pytest.mark.parametrize("tier", ["fast", "cpython"])
@pytest.mark.parametrize(("code", "status", "stdout"), CASES)
def test_a_program_ends_with_the_same_status_on_either_tier(
    sandbox: Sandbox, code: str, status: str, stdout: str, tier: str
) -> None:
    execution = sandbox.run(code, tier=tier)  # type: ignore[arg-type]
    assert (execution.status, execution.stdout) == (status, stdout)


@pytest.mark.parametrize("tier", ["fast", "cpython"])
def test_the_prelude_is_visible_to_every_run(sandbox: Sandbox, tier: str) -> None:
    assert sandbox.run("print(rotate([[1, 2], [3, 4]]))", tier=tier).stdout == "[[3, 1], [4, 2]]\n"  # type: ignore[arg-type]


def test_what_the_fast_tier_cannot_run_moves_to_cpython(sandbox: Sandbox) -> None:
    executions = sandbox.run_many(["print(1)", "import heapq\nprint(heapq.nlargest(1, [1, 2]))", "print(ascii(3))"])
    assert [(e.stdout, e.tier) for e in executions] == [("1\n", "fast"), ("[2]\n", "cpython"), ("3\n", "cpython")]


def test_a_step_continues_its_parents_program_and_reports_only_its_own_output(sandbox: Sandbox) -> None:
    state: State | None = None
    seen = []
    for code in ("a = 3\nprint(a)", "a += 1\nprint(a)", "import heapq\nprint('heap', a)", "1 / 0", "print(a)"):
        execution, state = sandbox.extend(state, code)
        seen.append((execution.status, execution.stdout, execution.tier))
    assert seen == [
        ("ok", "3\n", "fast"),
        ("ok", "4\n", "fast"),
        ("ok", "heap 4\n", "cpython"),
        ("error", "", "cpython"),
        ("ok", "4\n", "cpython"),
    ]


def test_siblings_do_not_see_each_other(sandbox: Sandbox) -> None:
    _, parent = sandbox.extend(None, "a = 1")
    pairs = sandbox.extend_many([(parent, "a += 1\nprint(a)"), (parent, "print(a)")])
    assert [execution.stdout for execution, _ in pairs] == ["2\n", "1\n"]


def test_a_state_rebuilt_from_its_steps_goes_on_where_it_was(sandbox: Sandbox) -> None:
    assert sandbox.extend(State.of("a = 5\nprint(a)"), "print(a + 1)")[0].stdout == "6\n"


def test_input_over_its_limit_is_refused_without_being_run() -> None:
    with Sandbox(Limits(code_bytes=10), preload=()) as small:
        assert small.run("print(1)  # long").status == "refused"


def test_standard_input_reaches_the_program(sandbox: Sandbox) -> None:
    assert sandbox.run("print(input() + '!')", stdin="hello\n").stdout == "hello!\n"


def test_limits_outside_their_range_are_named() -> None:
    with pytest.raises(ValueError, match=r"Limits.timeout_s: expected a number in \[0.01, 3600\], got 0"):
        Limits(timeout_s=0)
