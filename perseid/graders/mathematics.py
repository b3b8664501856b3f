"""Mathematics: kind `math`. The same text, exact value or mathematics in LaTeX (`perseid.graders.latex`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Final

from perseid.graders import latex
from perseid.graders.grader import Asked, Verdict, text_of
from perseid.graders.numbers import MAX_LENGTH, number


class Mathematics:
    """As text, else as exact numbers, else by math-verify; that takes long, and is asked on a thread."""

    key: Final = "math 2"

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
        return latex.same(answer.strip(), text_of(gold)) if verdict is UNDECIDED else verdict

    def _each(self, pairs: Sequence[tuple[str, Any]]) -> list[Verdict]:
        return [self.verdict(answer, gold) for answer, gold in pairs]

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="perseid-mathematics")


UNDECIDED: Final[Any] = object()


def at_once(answer: str, gold: str) -> Any:
    """The verdict where text, exact values or lengths decide; else `UNDECIDED`."""
    if not gold:
        return None
    if answer == gold:
        return True
    values = number(answer), number(gold)
    if None not in values:
        return values[0] == values[1]
    if len(gold) > MAX_LENGTH:
        return None
    return False if len(answer) > MAX_LENGTH or not answer else UNDECIDED


GRADERS: Final = {"math": Mathematics()}
