"""The seam of all that grades: what is asked of a grader, and what it says.

A verdict is right, wrong, or None: cannot tell, because the gold cannot be read as its kind or the comparison failed.
What cannot be told is no reward and not wrong; an answer that cannot be read beside a gold that can is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, TypeAlias

from perseid.problems.problem import Gold, Problem

Verdict: TypeAlias = bool | None  # None: cannot tell


class Asked(NamedTuple):
    """An answer to a problem, beside its gold."""

    problem: Problem
    gold: Gold
    answer: str


class Grader(Protocol):
    """Grades the answers to problems of one kind. It is asked from one event loop after another.

    key: names all that decides its verdicts but problem, gold and answer; it changes when one of them may.
    """

    @property
    def key(self) -> str: ...

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        """One verdict each, in order. Raises for a failure that stops the run: one that asking again would mend."""


@dataclass(frozen=True)
class Comparison:
    """A grader that needs nothing but the two texts, and no time: it is asked in the caller's thread.

    compare: (answer without white space around it, gold).
    """

    key: str
    compare: Callable[[str, Any], Verdict]

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        return [self.verdict(each.answer, each.gold.answer) for each in asked]

    def verdict(self, answer: str, gold: Any) -> Verdict:
        """Of one answer; `gold` is JSON."""
        return self.compare(answer.strip(), gold)


def of_texts(compare: Callable[[str, str], Verdict]) -> Callable[[str, Any], Verdict]:
    """The comparison with a gold that is a text or a number; it is not empty. Of another nothing can be told."""

    def compared(answer: str, gold: Any) -> Verdict:
        right = text_of(gold)
        return compare(answer, right) if right else None

    return compared


def text_of(gold: Any) -> str:
    """A gold that is a text or a number, as text without white space around it; "" for any other."""
    if isinstance(gold, str):
        return gold.strip()
    if isinstance(gold, int) and not isinstance(gold, bool):
        return Decimal(gold).to_eng_string()  # of any size, which no float may hold
    return format(Decimal(repr(gold)), "f") if isinstance(gold, float) and math.isfinite(gold) else ""
