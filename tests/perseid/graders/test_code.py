"""Answers that are code, in the real sandbox."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from perseid.graders import opened
from perseid.graders.code import Code, task_of
from perseid.sandbox import AsyncSandbox, Execution, Grade, Limits, Sandbox, SandboxFailure
from perseid.sandbox.execution import infrastructure_failure
from perseid.sandbox.grading import grade_of

ADD = "def add(a, b):\n    return a + b"
ASSERTS = ["assert add(1, 2) == 3", "assert add(2, 2) == 4"]
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"
SUM = {"inputs": ["1 2\n", "3\n4"], "outputs": ["3\n", "7"]}
CALLS = {"inputs": [[1, 2], [[1], [2]]], "outputs": [3, [1, 2]], "entry_point": "add"}
READ = "print(sum(map(int, open(0).read().split())))"
PREFIX = "import math\n\n\ndef root(n):\n    '''The root.'''\n"
ROOT = {"tests": ["assert root(9) == 3"], "prefix": PREFIX, "entry_point": "root"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=3.0)) as box:
        yield box


def verdict(sandbox: Sandbox, asked: Any, gold: Any, *answers: str) -> list[bool | None]:
    return asyncio.run(Code(AsyncSandbox(sandbox)).grade(asked(gold, *answers)))


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (ASSERTS, ADD),
        ("\n".join(ASSERTS), ADD),
        ('["assert add(1, 2) == 3"]', ADD),
        (ASSERTS, f"```python\n{ADD}\n```"),
        ({"tests": ASSERTS}, "add = lambda a, b: a + b"),
        ({"tests": CHECK, "entry_point": "add"}, ADD),
        ({"tests": "assert add(*PAIR) == 3", "setup": "import math\nPAIR = (1, 2)"}, ADD),
        (ROOT, "    return math.isqrt(n)\n"),
        (ROOT, "def root(n):\n    return math.isqrt(n)"),
        (CALLS, ADD),
        (CALLS, "def add(a, b):\n    return tuple(a + b) if type(a) is list else a + b"),
        (SUM, "import sys\nprint(sum(map(int, sys.stdin.read().split())), ' ')"),
        (SUM, "import sys\nprint(sum(map(int, sys.stdin.read().split())))\nsys.exit(0)"),
        ({**SUM, "solution": READ}, READ),
    ],
)
def test_what_passes_is_right(sandbox: Sandbox, asked: Any, gold: Any, answer: str) -> None:
    assert verdict(sandbox, asked, gold, answer) == [True]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (ASSERTS, "def add(a, b):\n    return 3"),
        (ASSERTS, "def other(a, b):\n    return a + b"),
        (ASSERTS, "def add(a, b:"),
        (ASSERTS, "1 / 0"),
        (ASSERTS, "def add(a, b):\n    while True: pass"),
        (ASSERTS, "import os\ndef add(a, b):\n    os._exit(0)"),
        (ASSERTS, "#" * 300_000),
        (ASSERTS, ""),
        ({"tests": CHECK, "entry_point": "add"}, "def add(a, b):\n    return 3"),
        (CALLS, "def add(a, b):\n    return 3"),
        (SUM, "print(3)"),
        (SUM, "print(sum(map(int, open(0).read().split())))\n1 / 0"),
        (SUM, "import os\nos.write(1, b'3')\nos._exit(1)"),
        (SUM, "while True: pass"),
        (ROOT, "    return 4\n"),
    ],
)
def test_what_fails_leaves_or_does_not_end_is_wrong(sandbox: Sandbox, asked: Any, gold: Any, answer: str) -> None:
    assert verdict(sandbox, asked, gold, answer) == [False]


@pytest.mark.parametrize(
    ("gold", "reason"),
    [
        ("", "expected a text or a list of texts as tests"),
        (5, "expected tests"),
        (None, "expected tests"),
        ([], "expected a text or a list of texts as tests"),
        ([5], "expected a text or a list of texts as tests"),
        ({}, "expected tests, or as many inputs as outputs"),
        ({"tests": "x = = 1"}, "expected tests in Python"),
        ({"tests": "import pandas\nassert add(1, 2)"}, "expected tests that import what the sandbox has, found pandas"),
        ({"tests": CHECK}, "expected the name of a function as entry_point"),
        ({"tests": ASSERTS, "entry_point": "a b"}, "expected the name of a function as entry_point"),
        ({"tests": ASSERTS, "entrypoint": "add"}, "expected no key but"),
        ({"tests": ASSERTS, "solution": 5}, "expected a text as solution"),
        ({"inputs": ["1"], "outputs": []}, "expected tests, or as many inputs as outputs"),
        ({"inputs": [1], "outputs": [1]}, "expected texts as inputs and outputs, or an entry_point"),
        ({"inputs": ["1"], "outputs": ["1"], "entry_point": "f"}, "expected a list of arguments as each input"),
        ({"tests": ASSERTS, "solution": "def add(a, b): return 3"}, "its solution does not pass"),
    ],
)
def test_beside_a_gold_that_cannot_be_used_nothing_can_be_told(
    sandbox: Sandbox, asked: Any, caplog: pytest.LogCaptureFixture, gold: Any, reason: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert verdict(sandbox, asked, gold, ADD, "1 / 0") == [None, None]
    assert [reason in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (["assert add(1, 2) == 3"], "class A: pass\ndef add(a, b):\n    return A()"),
        (["assert add(1, 2) == 3", "#" * 300_000], ADD),
        ({"inputs": ["1" * 2_000_000], "outputs": ["1"]}, "print(1)"),
    ],
)
def test_what_the_sandbox_cannot_judge_cannot_be_told(sandbox: Sandbox, asked: Any, gold: Any, answer: str) -> None:
    assert verdict(sandbox, asked, gold, answer) == [None]


def test_the_first_function_that_tests_call_is_what_they_are_about() -> None:
    defined = "from math import isclose\ndef near(a):\n    return a\nx = [near(1)]\n"
    tests = f"{defined}assert isclose(area(len(x)), 2) and volume(1)"
    assert task_of({"tests": tests}).entry_point == "area"


class Broken:
    """A sandbox that fails."""

    async def grade(self, code: str, entry_point: str, tests: str) -> Grade:
        failed = infrastructure_failure("no worker", "cpython")
        return grade_of(failed, failed, None)

    async def run(self, code: str, stdin: str = "") -> Execution:
        return infrastructure_failure("no worker", "cpython")


@pytest.mark.parametrize("gold", [ASSERTS, SUM])
def test_a_sandbox_that_fails_stops_the_run(asked: Any, gold: Any) -> None:
    with pytest.raises(SandboxFailure, match="the sandbox failed: no worker"):
        asyncio.run(Code(Broken()).grade(asked(gold, ADD)))


def test_graders_that_are_opened_run_code_in_the_sandbox(sandbox: Sandbox, asked: Any) -> None:
    with opened({}, ["code"], sandbox) as graders:
        assert asyncio.run(graders["code"].grade(asked(ASSERTS, ADD, "def add(a, b): return 3"))) == [True, False]
