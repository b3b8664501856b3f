"""The fast tier's processes: every step ends as it would alone, whatever came before it on the same process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from perseid.sandbox import Limits, Sandbox, State
from perseid.sandbox.guardian import Guardian
from perseid.sandbox.interpreter import Interpreter, Task
from tests.perseid.sandbox.test_lifecycle import ROOT, alive
from tests.waiting import eventually

LIMITS = Limits(timeout_s=1.0, output_bytes=1000)


@pytest.fixture
def interpreter() -> Iterator[Interpreter]:
    guardian = Guardian()
    opened = Interpreter(LIMITS, guardian)
    yield opened
    opened.close()
    guardian.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(LIMITS, workers=2, preload=()) as opened:
        yield opened


def outcome(interpreter: Interpreter, *sources: str) -> tuple[str, str | None] | None:
    answer = interpreter.run(Task(None, sources[:-1], sources[-1]))
    if answer is None:
        return None
    return answer.stdout, None if answer.raised is None else f"{answer.raised.kind.__name__}: {answer.raised.text}"


def test_only_the_last_source_is_heard(interpreter: Interpreter) -> None:
    assert outcome(interpreter, "a = 1\nprint('before')", "print(a)") == ("1\n", None)


@pytest.mark.parametrize(
    ("code", "printed", "raised"),
    [
        ("1 / 0", "", "ZeroDivisionError: division by zero"),
        ("print(1)\n{}['a']", "1\n", "KeyError: 'a'"),
        ("raise ValueError", "", "ValueError: "),
        ("nothing", "", "NameError: name 'nothing' is not defined"),
        ("import json\njson.loads('{')", "", "JSONDecodeError: Expecting ',' delimiter: line 1 column 2 (char 1)"),
        ("x = (", "", "SyntaxError: unexpected EOF while parsing"),
        ("assert 1 == 2", "", "AssertionError: "),
    ],
)
def test_what_was_raised_is_told_in_full(interpreter: Interpreter, code: str, printed: str, raised: str) -> None:
    for _ in range(2):
        assert outcome(interpreter, code) == (printed, raised)
        assert outcome(interpreter, "print(2)") == ("2\n", None)


def test_a_name_that_is_asked_for_halfway_stops_nothing_after_it(interpreter: Interpreter) -> None:
    asking = "try:\n    nothing\nexcept NameError:\n    a = 1"
    assert outcome(interpreter, asking, "b = a + 1", asking, "print(a, b)") == ("1 2\n", None)
    assert outcome(interpreter, "nothing", "print(1)") == ("", "NameError: name 'nothing' is not defined")
    assert outcome(interpreter, "print(1)") == ("1\n", None)


def test_an_earlier_source_that_fails_is_what_is_told(interpreter: Interpreter) -> None:
    assert outcome(interpreter, "1 / 0", "print(1)") == ("", "ZeroDivisionError: division by zero")
    assert outcome(interpreter, "print(1)") == ("1\n", None)


def test_a_state_is_kept_from_the_asked_time_on(interpreter: Interpreter) -> None:
    kept = interpreter.run(Task(None, (), "a = [1]", keep_from_s=0.0))
    assert kept is not None
    assert kept.snapshot is not None
    for n in (2, 3):
        answer = interpreter.run(Task(kept.snapshot, (), f"a.append({n})\nprint(a)", keep_from_s=10.0))
        assert answer is not None
        assert (answer.stdout, answer.snapshot) == (f"[1, {n}]\n", None)


def interpreters() -> list[psutil.Process]:
    return [child for child in alive(psutil.Process().children()) if child.name() == "monty"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_is_killed_is_replaced_and_asked_again(interpreter: Interpreter, number: int) -> None:
    assert outcome(interpreter, "print(1)") == ("1\n", None)
    [process] = interpreters()
    os.kill(process.pid, number)
    assert eventually(lambda: not alive([process]))
    assert outcome(interpreter, "print(2)") == ("2\n", None)


def test_a_program_that_crashes_its_process_every_time_is_no_verdict(interpreter: Interpreter) -> None:
    stop, crashed = threading.Event(), set()

    def saboteur() -> None:
        while not stop.wait(0.01):
            for process in interpreters():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGABRT)
                    crashed.add(process.pid)

    thread = threading.Thread(target=saboteur)
    thread.start()
    try:
        assert outcome(interpreter, "while True:\n    pass") is None
    finally:
        stop.set()
        thread.join()
    assert len(crashed) == 3
    assert outcome(interpreter, "print(3)") == ("3\n", None)


def test_interpreters_that_are_killed_all_the_time_change_no_tier(sandbox: Sandbox) -> None:
    stop, killed = threading.Event(), set()

    def assassin() -> None:
        while not stop.wait(0.02):
            for process in interpreters():
                with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                    used = process.cpu_times()
                    if used.user + used.system >= 0.03:  # its time, not the clock's: a busy machine lets it begin, too
                        os.kill(process.pid, signal.SIGKILL)
                        killed.add(process.pid)

    codes = [f"a = {n}\nfor i in range(60_000):\n    a += i\nprint(a)" for n in range(12)]
    expected = [
        (e.status, e.stdout, e.tier, s.needs_cpython) for e, s in sandbox.extend_many([(None, c) for c in codes])
    ]
    thread = threading.Thread(target=assassin)
    thread.start()
    try:
        found = sandbox.extend_many([(None, code) for code in codes])
    finally:
        stop.set()
        thread.join()
    assert killed
    assert {tier for _, _, tier, _ in expected} == {"fast"}
    assert [(e.status, e.stdout, e.tier, s.needs_cpython) for e, s in found] == expected


HOST_OF_A_GUARDIAN = """
import psutil, subprocess, time
from perseid.sandbox.guardian import Guardian
guardian = Guardian()
[first] = psutil.Process().children()
wards = [subprocess.Popen(["sleep", "60"], start_new_session=True) for _ in range(3)]
guardian.watch(wards[0].pid)
first.kill()
first.wait()
guardian.watch(wards[1].pid)
guardian.watch(wards[2].pid)
guardian.release(wards[2].pid)
print(*(ward.pid for ward in wards), flush=True)
time.sleep(60)
"""


def test_a_dead_guardian_is_replaced_and_the_new_one_knows_whom_to_end() -> None:
    host = subprocess.Popen([sys.executable, "-c", HOST_OF_A_GUARDIAN], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    *watched, released = [psutil.Process(int(pid)) for pid in host.stdout.readline().split()]
    host.kill()
    host.wait()
    host.stdout.close()
    assert eventually(lambda: not alive(watched))
    assert alive([released])
    released.kill()


def test_the_fast_tier_outlives_its_guardian(sandbox: Sandbox) -> None:
    sandbox.run("print(1)")
    [guardian] = [child for child in alive(psutil.Process().children()) if "pidfd_open" in " ".join(child.cmdline())]
    guardian.kill()
    assert eventually(lambda: not alive([guardian]))
    for process in interpreters():
        process.kill()
    execution = sandbox.run("print(2)")
    assert (execution.stdout, execution.tier) == ("2\n", "fast")


def test_a_snapshot_that_is_none_is_no_verdict(interpreter: Interpreter) -> None:
    assert interpreter.run(Task(b"nonsense", (), "print(1)")) is None
    assert outcome(interpreter, "print(1)") == ("1\n", None)


def test_too_much_output_time_and_memory_cost_the_process_and_not_the_next_task(interpreter: Interpreter) -> None:
    answer = interpreter.run(Task(None, (), "while True:\n    print('x' * 99)"))
    assert answer is not None
    assert (answer.overflowed, len(answer.stdout)) == (True, 1000)
    assert outcome(interpreter, "print(1)") == ("1\n", None)
    ended = outcome(interpreter, "while True:\n    pass")
    assert ended is not None
    assert "TimeoutError: feed time limit exceeded" in str(ended[1])
    assert outcome(interpreter, "print(1)") == ("1\n", None)
    ended = outcome(interpreter, "a = ['x' * 10**10]")
    assert ended is not None
    assert "MemoryError" in str(ended[1])
    assert outcome(interpreter, "print(1)") == ("1\n", None)


def test_steps_asked_for_together_end_as_alone(sandbox: Sandbox) -> None:
    state = sandbox.extend(None, "a = [1]")[1]
    codes = ["a.append(2)\nprint(a)", "1 / 0", "print(a)", "import heapq\nprint(a)", "nothing", "x" * 300_000]
    pairs = [(start, code) for start in (state, None, state) for code in codes]
    together = sandbox.extend_many(pairs)
    alone = [sandbox.extend(*pair) for pair in pairs]
    assert [(e.status, e.stdout, e.error, e.tier, s.steps) for e, s in together] == [
        (e.status, e.stdout, e.error, e.tier, s.steps) for e, s in alone
    ]


def test_a_dear_step_is_not_run_again_and_a_light_one_leaves_no_bytes(sandbox: Sandbox) -> None:
    light = sandbox.extend(None, "a = 1")[1]
    assert (light.snapshot, light.num_kept) == (None, 0)
    dear_execution, dear = sandbox.extend(light, "for i in range(200_000):\n    a = i")
    assert dear.num_kept == 2
    after, _ = sandbox.extend(dear, "print(a)")
    assert (after.stdout, after.tier) == ("199999\n", "fast")
    assert after.wall_s < dear_execution.wall_s / 2


def test_many_light_steps_come_to_be_kept(sandbox: Sandbox) -> None:
    state = State()
    for n in range(40):
        execution, state = sandbox.extend(state, f"a{n} = {n}\nprint(a{max(0, n - 1)})")
        assert execution.stdout == f"{max(0, n - 1)}\n"
        assert len(state.steps) - state.num_kept < 20


def test_what_the_clock_said_stays_said() -> None:
    with Sandbox(LIMITS, prelude="import datetime") as sandbox:
        first, state = sandbox.extend(None, "t = datetime.datetime.now()\nprint(t)")
        for _ in range(3):
            again, _ = sandbox.extend(state, "print(t)")
            assert (again.stdout, again.tier) == (first.stdout, "fast")


def test_an_error_that_cpython_would_raise_too_stays_on_the_fast_tier(sandbox: Sandbox) -> None:
    code = "import re\nre.findall('a', [1])"
    fast, cpython = sandbox.run(code), sandbox.run(code, tier="cpython")
    assert (fast.tier, fast.status, fast.error) == ("fast", "error", cpython.error)


@pytest.mark.parametrize(
    "code",
    [
        "while True:\n    try:\n        nothing\n    except NameError:\n        pass",
        "x = 7 ** (7 ** 9)",
        "a = b = [[]]\nfor _ in range(60):\n    a, b = [a, a], [b, b]\nprint(a == b)",
    ],
)
def test_a_limit_holds_where_the_interpreters_own_clock_does_not(sandbox: Sandbox, code: str) -> None:
    started = time.monotonic()
    assert sandbox.run(code).status == "timeout"
    assert time.monotonic() - started < LIMITS.timeout_s + 3
    assert sandbox.run("print(1)").stdout == "1\n"


def test_what_is_silent_past_its_limit_is_not_run_again(sandbox: Sandbox) -> None:
    execution = sandbox.run("x = 7 ** (7 ** 9)")
    assert (execution.status, execution.tier) == ("timeout", "fast")


def test_names_may_be_asked_for_often_but_not_for_ever(interpreter: Interpreter) -> None:
    asking = "for _ in range({}):\n    try:\n        nothing\n    except NameError:\n        pass\nprint(1)"
    assert outcome(interpreter, asking.format(500)) == ("1\n", None)
    assert outcome(interpreter, asking.format(5000)) is None
    assert outcome(interpreter, "print(1)") == ("1\n", None)


def test_an_error_as_large_as_the_memory_is_not_taken_in(interpreter: Interpreter) -> None:
    assert outcome(interpreter, "raise ValueError('a' * 50_000_000)") is None
    ended = outcome(interpreter, "raise ValueError('a' * 1_000_000)")
    assert ended is not None
    assert len(str(ended[1])) > 1_000_000


def test_a_state_that_is_too_large_to_hold_is_rebuilt_by_cpython(sandbox: Sandbox) -> None:
    execution, state = sandbox.extend(None, "a = 'x' * 30_000_000\nfor _ in range(100_000):\n    pass")
    assert (execution.status, state.snapshot, state.needs_cpython) == ("ok", None, True)
    assert sandbox.extend(state, "print(len(a))")[0].stdout == "30000000\n"


def test_sources_larger_than_a_pipe_that_print_more_than_it_holds_stop_nothing(interpreter: Interpreter) -> None:
    answers: list[object] = []
    before = ("print('x' * 64_000)\n" * 4, f"a = {'y' * 120_000!r}")

    def ask() -> None:
        answers.append(outcome(interpreter, *before, f"print(len(a))\n#{'z' * 120_000}"))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(60)
    interpreter.end()
    assert answers == [("120000\n", None)]


def test_an_error_is_one_line_that_leaves_a_terminal_alone(sandbox: Sandbox) -> None:
    code = "assert 0, 'a\\nb\\x1b[2J'"
    fast, cpython = sandbox.run(code), sandbox.run(code, tier="cpython")
    assert (fast.tier, fast.error) == ("fast", "AssertionError: a b [2J")
    assert fast.error == cpython.error


@pytest.mark.parametrize(
    "code",
    ["x = 5 if 0 else \\", "x = 5 \\\n", "return 5", "if 1:\n    return 5", "def f():\n    1\nreturn"],
)
def test_what_cpython_does_not_compile_is_an_error(sandbox: Sandbox, code: str) -> None:
    execution = sandbox.run(f"print(1)\n{code}")
    assert (execution.status, execution.stdout) == ("error", "")


def test_a_program_that_returns_within_functions_stays_on_the_fast_tier(sandbox: Sandbox) -> None:
    assert sandbox.run("def f():\n    return 'a\\\\'\nq = 'it will return'\nprint(f())").tier == "fast"
