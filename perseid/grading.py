"""Whether an answer is right: the one place that knows the right ones.

Strict on purpose: lenient graders (percent variants, relative tolerance, both argument orders) label wrong programs as
verified (spec, section 1.9, row 19). Equal are equal texts, and equal numbers, compared exactly: integers, decimals and
fractions, never floats. Only where a text looks like LaTeX does math-verify decide, in a process of its own with a time
limit; an answer it cannot decide in time is wrong.
"""

from __future__ import annotations

import logging
import multiprocessing
import re
import resource
import signal
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from multiprocessing.pool import Pool
from typing import Final

from perseid.errors import UserError

NUMBER: Final = re.compile(r"[+-]?(\d+|\d+\.\d*|\.\d+|\d+/\d+)")
LATEX: Final = re.compile(r"\\[A-Za-z]+|\$|[_^]\{")
MAX_LENGTH: Final = 2000  # characters of a number; longer texts are compared as texts only
LATEX_TIMEOUT_S: Final = 5.0
LATEX_MEMORY_BYTES: Final = 2 * 1024**3  # address space of the process that compares


class Grader:
    """Grades answers to the problems it holds gold for. Tells whether, never what."""

    def __init__(self, gold: Mapping[str, str]) -> None:
        self._gold = dict(gold)

    def __repr__(self) -> str:
        return f"Grader({len(self._gold)} problems)"

    def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool]:
        """One verdict an answer. Raises `UserError` for a problem without gold."""
        if problem_id not in self._gold:
            raise UserError("gold", problem_id, "expected an answer to this problem")
        gold = self._gold[problem_id]
        return [equivalent(answer, gold) for answer in answers]


@lru_cache(maxsize=100_000)
def equivalent(answer: str, gold: str) -> bool:
    """Whether the two are the same answer: as text, else as exact numbers, else as LaTeX."""
    answer, gold = answer.strip(), gold.strip()
    if answer == gold:
        return True
    numbers = number(answer), number(gold)
    if None not in numbers:
        return numbers[0] == numbers[1]
    if LATEX.search(answer) or LATEX.search(gold):
        return _latex.equal(answer, gold)
    return False


def number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal or fraction; None for anything else, `1e9` and `nan` included."""
    if len(text) > MAX_LENGTH or not NUMBER.fullmatch(text):
        return None
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


class _Latex:
    """math-verify in one process, started at the first LaTeX text and replaced when it passes its time."""

    def __init__(self) -> None:
        self._pool: Pool | None = None

    def equal(self, answer: str, gold: str) -> bool:
        if self._pool is None:
            self._pool = multiprocessing.get_context("spawn").Pool(1, _enter)
            self._pool.apply(_latex_equal, ("$1$", "$1$"))  # imports sympy outside the time limit
        try:
            return self._pool.apply_async(_latex_equal, (answer, gold)).get(LATEX_TIMEOUT_S)
        except multiprocessing.TimeoutError:
            self._pool.terminate()
            self._pool = None
            return False


_latex: Final = _Latex()


def _enter() -> None:
    """In the new process: an answer cannot take the machine's memory, and math-verify keeps its remarks to itself.

    It can be ended, too: a host that ignores SIGTERM would hand that down, and wait for ever for what it ends.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable(logging.WARNING)
    resource.setrlimit(resource.RLIMIT_AS, (LATEX_MEMORY_BYTES, LATEX_MEMORY_BYTES))


def _latex_equal(answer: str, gold: str) -> bool:
    from math_verify import parse, verify  # type: ignore[import-untyped]

    try:
        return bool(verify(_parsed(gold, parse), _parsed(answer, parse), timeout_seconds=None))
    except (ArithmeticError, AttributeError, MemoryError, RecursionError, TypeError, ValueError):
        return False  # the text of an answer can make sympy raise: no mathematics, so not the right answer


def _parsed(text: str, parse: object) -> object:
    assert callable(parse)
    return parse(text if "$" in text or "\\boxed" in text else f"${text}$", parsing_timeout=None)
