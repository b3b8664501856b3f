"""Mathematics: kind `math`. The same text, exact value or mathematics in LaTeX (`perseid.graders.latex`).

What math-verify takes for equal, and is not, is refused before it is asked: beside a gold that is a number an answer
with something left to do (`3!`, `\\gcd(168,360)`, `2^{2^3}`), a number in another base, a set for a pair, another unit,
and a text that differs in its capital letters alone. Beside a word words are compared.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

from perseid.graders import latex
from perseid.graders.grader import Asked, Verdict, text_of
from perseid.graders.numbers import MAX_LENGTH, number
from perseid.wrapped import bare


class Mathematics:
    """As text, else as exact numbers, else by math-verify; that takes long, and is asked on a thread."""

    key: Final = "math 3"

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        pairs = [(each.answer, each.gold.answer) for each in asked]
        known = [at_once(answer.strip(), text_of(gold)) for answer, gold in pairs]
        if latex_needed := [pair for pair, verdict in zip(pairs, known, strict=True) if verdict is UNDECIDED]:
            loop = asyncio.get_running_loop()
            found = iter(await loop.run_in_executor(self._thread, self._each, latex_needed))
            known = [next(found) if verdict is UNDECIDED else verdict for verdict in known]
        return known

    def verdict(self, answer: str, gold: Any) -> Verdict:
        """Of one answer; `gold` is JSON."""
        verdict = at_once(answer.strip(), text_of(gold))
        return latex.same(_plain(answer), _plain(text_of(gold))) if verdict is UNDECIDED else verdict

    def _each(self, pairs: Sequence[tuple[str, Any]]) -> list[Verdict]:
        return [self.verdict(answer, gold) for answer, gold in pairs]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        """Of this process: a fork of it has none of the threads."""
        os.register_at_fork(after_in_child=lambda: self.__dict__.pop("_thread", None))
        return ThreadPoolExecutor(1, thread_name_prefix="perseid-mathematics")


UNDECIDED: Final[Any] = object()


def at_once(answer: str, gold: str) -> Any:
    """The verdict where text, exact values or lengths decide; else `UNDECIDED`."""
    if not gold:
        return None
    if answer == gold:
        return True
    if WORD.fullmatch(word := _plain(gold)) and not FUNCTION.search(word):
        return _plain(answer) == word  # to math-verify letters are a product, and `olleh` is `hello`
    values = _value(answer), _value(gold)
    if None not in values:
        return values[0] == values[1]
    if len(gold) > MAX_LENGTH:
        return None
    return False if len(answer) > MAX_LENGTH or not answer or _other(_plain(answer), _plain(gold)) else UNDECIDED


WORD: Final = re.compile(r"[A-Za-z]{3,}(?:[ -][A-Za-z]+)*|[Nn][Oo]")
FUNCTION: Final = re.compile(r"\b(?:arc)?(?:sin|cos|tan|cot|sec|csc|log|exp|sqrt|sinh|cosh|tanh)")
GROUPED: Final = re.compile(r"([+-]?\d{1,3})(?:(,|\{,\}| |\\[,! ]|~)\d{3})(?:\2\d{3})*(?:\.\d+)?")
MONEY: Final = re.compile(r"\A\\?\$\s*(?=[\d.])")
WRITTEN: Final = str.maketrans({"−": "-", "⁄": "/", "²": "^{2}", "³": "^{3}", "π": r"\pi ", "∞": r"\infty "})


def _plain(text: str) -> str:
    """Without what wraps it, and without the sign of money before a number."""
    return MONEY.sub("", bare(text.translate(WRITTEN))) if len(text) <= MAX_LENGTH else text


def _value(text: str) -> Fraction | None:
    """Of a number, also of one in groups of three."""
    plain = _plain(text)
    if (groups := GROUPED.fullmatch(plain)) is not None:
        plain = plain.replace(groups[2], "")
    return number(plain)


LEFT_TO_DO: Final = re.compile(
    r"!|×|÷|\^|\\(?:log|ln|lg|exp|sqrt|gcd|lcm|max|min|sum|prod|int|lim|binom|[bp]mod|mod|div|cdot|times|sin|cos|tan)(?![A-Za-z])"
    r"|\\operatorname|(?<=[\w)}])\s*[-+*]"
)
DONE: Final = re.compile(  # what looks like it: a power of ten, degrees, a unit squared
    r"\^\{?\\circ\}?|(?<=[A-Za-z]\})\^\{?[23]\}?$|\s*(?:\\times|\\cdot|×)\s*10\^(?:\{[+-]?\d+\}|\d)"
)
CONDITION: Final = re.compile(r"\\mid|[|:]")  # of a set that is told by what is in it
BASE: Final = re.compile(r"[0-9A-Fa-f]+_\{?(\d+)\}?")
UNIT: Final = re.compile(r"(.*\d\s*)\\(?:text|mathrm)\{\s*([A-Za-z/]+)\.?\s*\}(?:\^\{?\d\}?)?")
UNITS: Final = {
    name: unit
    for unit, names in {
        "s": "sec second seconds",
        "min": "mins minute minutes",
        "h": "hr hrs hour hours",
        "d": "day days",
        "mm": "millimeter millimeters",
        "cm": "centimeter centimeters",
        "m": "meter meters metre metres",
        "km": "kilometer kilometers kilometre kilometres",
        "in": "inch inches",
        "ft": "foot feet",
        "yd": "yard yards",
        "mi": "mile miles",
        "g": "gram grams",
        "kg": "kilogram kilograms",
        "m/s": "",
        "km/h": "kph",
        "mph": "mi/h",
    }.items()
    for name in (unit, *names.split())
}


def _other(answer: str, gold: str) -> bool:
    """Whether an answer is surely another, though it may have the same value; both without what wraps them."""
    if answer.casefold() == gold.casefold() and answer != gold:
        return True
    if _value(gold) is not None and LEFT_TO_DO.search(DONE.sub("", answer)):
        return True
    if r"\{" in (answer[:2], gold[:2]) and "(" in (answer[:1], gold[:1]) and not CONDITION.search(answer + gold):
        return True
    bases = BASE.fullmatch(answer), BASE.fullmatch(gold)
    units = UNIT.fullmatch(answer), UNIT.fullmatch(gold)
    measured = [UNITS.get(unit[2], unit[2].rstrip("s")) for unit in units if unit]
    return len({base[1] for base in bases if base}) == 2 or (len(measured) == 2 and measured[0] != measured[1])


GRADERS: Final = {"math": Mathematics()}
