"""Numbers: kinds `number`, `decimal` and `fraction`. The same exact value, in the form that the gold's kind allows.

| kind | right is the same exact value, written as |
|---|---|
| number | an integer, a decimal or a fraction: `24`, `24.0`, `+24`, `48/2` |
| decimal | an integer or a decimal |
| fraction | an integer or a fraction in lowest terms |

Numbers are ASCII digits without exponents or units, in groups (`1,250`) only beside a gold in groups, never floats:
lenient graders (relative tolerance, per cent, both argument orders) label wrong programs as verified.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from perseid.graders.grader import Comparison, Verdict, of_texts

NUMBER: Final = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+/[0-9]+)")
GROUPED: Final = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")
MAX_LENGTH: Final = 4096  # characters of a number; below what Python reads as one integer


def number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal or fraction; None for anything else, `1e9` and `nan` included."""
    if len(text) > MAX_LENGTH or not NUMBER.fullmatch(text):
        return None
    try:
        return Fraction(text)
    except ZeroDivisionError:
        return None


def in_form(form: Callable[[str], bool]) -> Callable[[str, str], Verdict]:
    """The comparison of numbers that are written in this form."""

    def compare(answer: str, gold: str) -> Verdict:
        if GROUPED.fullmatch(gold):
            gold, answer = gold.replace(",", ""), answer.replace(",", "") if GROUPED.fullmatch(answer) else answer
        value = number(gold)
        if value is None or not form(gold):
            return None
        return number(answer) == value and form(answer)

    return compare


def any_form(text: str) -> bool:
    return True


def no_fraction(text: str) -> bool:
    return "/" not in text


def lowest_terms(text: str) -> bool:
    numerator, _, denominator = text.partition("/")
    return "." not in text and math.gcd(int(numerator), int(denominator or "1")) == 1


GRADERS: Final = {
    "number": Comparison("number 3", of_texts(in_form(any_form))),
    "decimal": Comparison("decimal 3", of_texts(in_form(no_fraction))),
    "fraction": Comparison("fraction 3", of_texts(in_form(lowest_terms))),
}
