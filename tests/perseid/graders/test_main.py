"""`python -m perseid.graders` as one calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def called(*arguments: str) -> tuple[str, str, int]:
    command = [sys.executable, "-m", "perseid.graders", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["choice", "red", "(B)", "--gold", '{"answer": "B", "options": ["red", "blue"]}'], ["wrong red", "right (B)"]),
        (["number", "24", "--gold", "twelve"], ["cannot tell 24"]),
        (
            ["code", "def f(x): return x", "f = abs", "--gold", '["assert f(-1) == 1"]'],
            ["wrong def f(x): return x", "right f = abs"],
        ),
        (["tests/fuzz/near.py", "1", "2", "--gold", '"1"'], ["right 1", "wrong 2"]),
    ],
)
def test_it_says_of_each_answer_what_becomes_of_it(arguments: list[str], lines: list[str]) -> None:
    out, error, status = called(*arguments)
    assert [" ".join(line.split()) for line in out.splitlines()] == lines
    assert (error, status) == ("", 0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nummer", "kind: 'nummer' is not known (did you mean number?); expected one of number, decimal"),
        ("missing.py", "missing.py: python: expected a Python file; "),
        (
            "perseid/__init__.py",
            "perseid/__init__.py: python: expected a function grade(question, gold, answers)",
        ),
    ],
)
def test_a_mistake_is_one_line_and_status_2(kind: str, message: str) -> None:
    out, error, status = called(kind, "1", "--gold", "1")
    assert (out, status) == ("", 2)
    assert error.startswith(message)
    assert error.count("\n") == 1
