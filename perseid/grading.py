"""Whether an answer is right: the one place that knows the right ones.

The gold names the comparison, never the answer, so no dress of an answer buys it a more lenient one:

| kind | right is |
|---|---|
| number | the same exact value, written as an integer, a decimal or a fraction: `24`, `24.0`, `+24`, `48/2` |
| decimal | the same exact value, written as an integer or a decimal |
| fraction | the same exact value, written as an integer or a fraction in lowest terms |
| text | the same text |
| math | the same text, exact value or mathematics in LaTeX (`perseid.mathematics`) |

White space around either does not count, inside it does. Numbers are ASCII digits, without exponents, groups or units,
and never floats: lenient graders (relative tolerance, per cent, both argument orders) label wrong programs as verified.
A verdict is right, wrong, or None: cannot tell, because the gold cannot be read as its kind or the comparison failed.
What cannot be told is no reward and not wrong; an answer that cannot be read beside a gold that can is wrong.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from typing import Final

from perseid import mathematics
from perseid.errors import UserError
from perseid.problems.problem import AnswerKind, Gold

VERSION: Final = 2  # raised by hand when a verdict changes
NUMBER: Final = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+/[0-9]+)")
MAX_LENGTH: Final = 4096  # characters of an answer that is more than a text; below what Python reads as one integer


class Grader:
    """Grades answers to the problems it holds gold for. Tells whether, never what.

    `version`: 16 hex digits of all that decides a verdict: `VERSION`, and each gold with its kind.
    """

    def __init__(self, gold: Iterable[Gold]) -> None:
        self._gold = {each.problem_id: each for each in gold}

    def __repr__(self) -> str:
        return f"Grader({len(self._gold)} problems)"

    @cached_property
    def version(self) -> str:
        known = sorted((gold.problem_id, gold.answer, gold.kind) for gold in self._gold.values())
        return hashlib.sha256(json.dumps([VERSION, known]).encode()).hexdigest()[:16]

    def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool | None]:
        """One verdict an answer, None where it cannot be told. Raises `UserError` for a problem without gold."""
        if problem_id not in self._gold:
            raise UserError("gold", problem_id, "expected an answer to this problem")
        gold = self._gold[problem_id]
        return [equivalent(answer, gold.answer, gold.kind) for answer in answers]


def equivalent(answer: str, gold: str, kind: AnswerKind = "math") -> bool | None:
    """Whether `answer` is right where `gold` is, compared as `kind` says; None: cannot tell."""
    answer, gold = answer.strip(), gold.strip()
    if not gold:
        return None
    if kind == "text":
        return answer == gold
    if kind == "math":
        return _same_mathematics(answer, gold)
    value = number(gold)
    if value is None or not FORMS[kind](gold):
        return None
    return number(answer) == value and FORMS[kind](answer)


def number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal or fraction; None for anything else, `1e9` and `nan` included."""
    if len(text) > MAX_LENGTH or not NUMBER.fullmatch(text):
        return None
    try:
        return Fraction(text)
    except ZeroDivisionError:
        return None


def _any_form(text: str) -> bool:
    return True


def _no_fraction(text: str) -> bool:
    return "/" not in text


def _lowest_terms(text: str) -> bool:
    numerator, _, denominator = text.partition("/")
    return "." not in text and math.gcd(int(numerator), int(denominator or "1")) == 1


FORMS: Final[Mapping[AnswerKind, Callable[[str], bool]]] = {
    "number": _any_form,
    "decimal": _no_fraction,
    "fraction": _lowest_terms,
}


def _same_mathematics(answer: str, gold: str) -> bool | None:
    """As text, else as exact numbers, else by math-verify."""
    if answer == gold:
        return True
    values = number(answer), number(gold)
    if None not in values:
        return values[0] == values[1]
    if len(gold) > MAX_LENGTH:
        return None
    if len(answer) > MAX_LENGTH or not answer:
        return False
    return mathematics.same(answer, gold)
