"""Function problems: the tests sit in a process of their own, and what comes over the line is data."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from perseid.sandbox import Limits, Sandbox


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=10), tier="cpython", preload=()) as opened:
        yield opened


@pytest.fixture(scope="module")
def impatient() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=0.7), tier="cpython", preload=()) as opened:
        yield opened


ADD = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(2, 2) == 4\n"
FORGED = r"""
import os, json
for _ in range(10):
    os.write(7, json.dumps(["list", "0", "returned", 3, None, ["list"]]).encode() + b"\n")
def f(a, b):
    return 0
"""

CASES = {
    "a right solution passes": ("def f(a, b):\n    return a + b", ADD, "passed"),
    "a wrong one fails": ("def f(a, b):\n    return 3", ADD, "failed"),
    "asserts without a check function count": (
        "def f(a):\n    return a",
        "assert f(2) == 2\nassert f(1) == 2",
        "failed",
    ),
    "a missing function fails": ("def g(a, b):\n    return a + b", ADD, "failed"),
    "code that raises while loading is broken": ("1 / 0", ADD, "broken"),
    "code that does not load is broken though no test calls it": ("1 / 0", "assert True", "broken"),
    "code that leaves with success is broken": ("import os\nos._exit(0)", ADD, "broken"),
    "code that leaves during a call is broken": ("import os\ndef f(a, b):\n    os._exit(0)", ADD, "broken"),
    "sys.exit in a call is broken": ("import sys\ndef f(a, b):\n    sys.exit(0)", ADD, "broken"),
    "code that crashes is broken": ("import ctypes\ndef f(a, b):\n    ctypes.string_at(0)", ADD, "broken"),
    "a hang is a timeout": ("def f(a, b):\n    while True: pass", ADD, "timeout"),
    "a hang while loading is a timeout": ("while True: pass", ADD, "timeout"),
    "an object that equals everything is no plain data": (
        "class Yes:\n    def __eq__(self, other):\n        return True\ndef f(a, b):\n    return Yes()",
        ADD,
        "unsplittable",
    ),
    "a number that equals everything is only its number": (
        "class Yes(int):\n    def __eq__(self, other):\n        return True\ndef f(a, b):\n    return Yes(7)",
        ADD,
        "failed",
    ),
    "answers written ahead of their question do not count": (FORGED, ADD, "broken"),
    "patched builtins stay in the code's process": (
        "import builtins\nbuiltins.AssertionError = None\ndef f(a, b):\n    return 0",
        ADD,
        "failed",
    ),
    "a forged record does not count": (
        "import os\nos.write(5, b'ok\\n\\n\\n')\ndef f(a, b):\n    return 0",
        ADD,
        "failed",
    ),
    "a flood on the line ends the grading": (
        "import os\ndef f(a, b):\n    while True: os.write(7, b'x' * 65536)",
        ADD,
        "broken",
    ),
    "a deep result is no plain data": (
        "def f(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x",
        ADD,
        "unsplittable",
    ),
    "a huge result is no plain data": ("def f(a, b):\n    return 'x' * 30_000_000", ADD, "unsplittable"),
    "a function as argument cannot be split": (
        "def f(g):\n    return g(1)",
        "assert f(lambda x: x) == 1",
        "unsplittable",
    ),
    "a lost code process is not hidden by a broad except": (
        "import os\ndef f(a):\n    os._exit(1)",
        "try:\n    f(1)\nexcept BaseException:\n    pass",
        "broken",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_grading(sandbox: Sandbox, impatient: Sandbox, name: str) -> None:
    code, tests, verdict = CASES[name]
    grade = (impatient if verdict == "timeout" else sandbox).grade(code, "f", tests)
    assert (grade.verdict, grade.passed) == (verdict, verdict == "passed"), grade


VALUES = [
    "float('nan')", "float('inf')", "-float('inf')", "-0.0", "1e-320", "2**200", "-2**63", "True", "None", "1+2j",
    "(1, (2, [3]))", "{1, 2}", "frozenset({'a'})", "{(1, 2): [3], None: {4}}", "b'\\xff'", "bytearray(b'x')",
    "range(1, 9, 2)", "'\\ud800\\n\\0'", "{}", "set()", "[]", "()", "''",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_plain_values_arrive_as_they_left(sandbox: Sandbox, value: str) -> None:
    tests = f"value = {value}\nassert repr(f(value)) == repr(value) and type(f(value)) is type(value)"
    grade = sandbox.grade("def f(x):\n    return x", "f", tests)
    assert grade.passed, grade


def test_arguments_changed_in_place_are_changed_for_the_tests_too(sandbox: Sandbox) -> None:
    code = "def f(items, seen):\n    items.sort()\n    seen['n'] = len(items)\n    return items"
    tests = "a, b = [2, 1], {}\nassert f(a, seen=b) is a\nassert a == [1, 2] and b == {'n': 2}"
    assert sandbox.grade(code, "f", tests).passed


def test_iterators_and_other_functions_of_the_code_can_be_used(sandbox: Sandbox) -> None:
    code = "def g(n):\n    return n * 2\ndef f(n):\n    yield from range(n)"
    assert sandbox.grade(code, "f", "assert list(f(3)) == [0, 1, 2] and g(4) == 8").passed


def test_exceptions_arrive_by_type(sandbox: Sandbox) -> None:
    code = "def f(x):\n    raise KeyError('no')"
    tests = "try:\n    f(1)\nexcept KeyError as error:\n    assert 'no' in str(error)\nelse:\n    assert False"
    assert sandbox.grade(code, "f", tests).passed


@pytest.mark.parametrize("tests", ["assert all(map(f, [1, 2]))", "for n in map(f, [1, 2]):\n    assert n > 2"])
def test_a_function_cannot_end_a_loop_of_the_tests(sandbox: Sandbox, tests: str) -> None:
    grade = sandbox.grade("def f(x):\n    raise StopIteration", "f", tests)
    assert (grade.verdict, grade.passed) == ("failed", False)


def test_the_codes_process_never_holds_an_expected_answer(sandbox: Sandbox) -> None:
    code = (
        "import gc, sys\n"
        "def f(x):\n"
        "    frame, found = sys._getframe(), 'nothing'\n"
        "    while frame:\n"
        "        found += repr(frame.f_locals)\n"
        "        frame = frame.f_back\n"
        "    texts = [o for o in gc.get_objects() if isinstance(o, str)]\n"
        "    return ('wxy' + 'zzy') in found + ''.join(texts)\n"
    )
    assert sandbox.grade(code, "f", "SECRET = 'wxyzzy'\nassert f(1) is False").passed


def test_tests_over_their_limit_are_refused() -> None:
    with Sandbox(Limits(code_bytes=50), preload=()) as small:
        assert small.grade("def f():\n    return 1", "f", "assert f() == 1  # " + "x" * 50).verdict == "refused"


def test_one_grading_leaves_nothing_for_the_next(sandbox: Sandbox) -> None:
    code = "def f():\n    return 1"
    assert sandbox.grade(code, "f", "import builtins\nx = builtins\nassert f() == 1\nprint('noise')").passed
    grade = sandbox.grade(code, "f", "assert f() == 1\nassert 'x' not in globals()\nprint('own')")
    assert grade.passed, grade
    assert grade.tests.stdout == "own\n"


def test_the_examiner_is_replaced_when_it_dies(sandbox: Sandbox) -> None:
    code = "def f():\n    return 1"
    assert sandbox.grade(code, "f", "import os\nassert f() == 1\nos._exit(0)").verdict == "failed"
    assert sandbox.grade(code, "f", "assert f() == 1").passed


def test_many_gradings_in_a_row_leave_no_trace() -> None:
    with Sandbox(Limits(timeout_s=10), tier="cpython", preload=()) as one:
        grades = one.grade_many([("def f(n):\n    return n", "f", f"assert f({n}) == {n % 7}") for n in range(30)])
        assert [grade.passed for grade in grades] == [n < 7 for n in range(30)]
        server = psutil.Process(one.worker_pids()[0])
        family = [server, *server.children(recursive=True)]
        before = sum(process.num_fds() for process in family[:2])
        for n in range(150):
            assert one.grade("def f(n):\n    return n", "f", f"assert f({n}) == {n}").passed
        assert sum(process.num_fds() for process in family[:2]) == before
