"""The judge: the one place that knows the right answers. It tells only whether an answer is right, or that it cannot.

A problem names its kind of answer, and the kind the grader, never the answer: so no dress of an answer buys it a more
lenient comparison.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from perseid.errors import UserError
from perseid.graders.grader import Asked, Grader, Verdict
from perseid.graders.kinds import BUILT_IN
from perseid.problems.problem import Gold, Problem

UNTOLD_LIMIT: Final = 0.05  # share of a kind's answers of which its grader may not tell without a warning
WARNINGS: Final = frozenset(5 * 10**n for n in range(12))  # such answers, at which it is said


class Judge:
    """Grades answers to the problems it holds gold for, and warns where it often cannot.

    version: 16 hex digits of all that decides a verdict: each problem's question, kind and gold, and the key of each
        grader that one of them needs.

    Raises `UserError` for a problem of a kind that `graders` lack.
    """

    def __init__(
        self, problems: Iterable[Problem], gold: Iterable[Gold], graders: Mapping[str, Grader] = BUILT_IN
    ) -> None:
        right = {each.problem_id: each for each in gold}
        self._known = {p.problem_id: (p, right[p.problem_id]) for p in problems if p.problem_id in right}
        self._kinds = {name: problem.kind for name, (problem, _) in self._known.items()}
        if unknown := sorted({*self._kinds.values()} - {*graders}):
            raise UserError("problems", "kind", f"expected one of {', '.join(graders)}, found {unknown[0]}")
        self._graders = graders
        self.asked: Counter[str] = Counter()  # answers that were graded, by kind
        self.untold: Counter[str] = Counter()  # of those, the ones without a verdict

    def __repr__(self) -> str:
        return f"Judge({len(self._known)} problems)"

    @cached_property
    def version(self) -> str:
        known = sorted((name, self._kinds[name], p.question, gold.answer) for name, (p, gold) in self._known.items())
        keys = {kind: self._graders[kind].key for kind in self._kinds.values()}
        return hashlib.sha256(json.dumps([known, keys], sort_keys=True).encode()).hexdigest()[:16]

    async def grade(self, problem_id: str, answers: Sequence[str]) -> list[Verdict]:
        """One verdict an answer, None where it cannot be told. Raises `UserError` for a problem without gold."""
        if problem_id not in self._known:
            raise UserError("gold", problem_id, "expected an answer to this problem")
        problem, gold = self._known[problem_id]
        kind = self._kinds[problem_id]
        verdicts = await self._graders[kind].grade([Asked(problem, gold, answer) for answer in answers])
        self._count(kind, verdicts)
        return verdicts

    def _count(self, kind: str, verdicts: Sequence[Verdict]) -> None:
        self.asked[kind] += len(verdicts)
        for _ in range(verdicts.count(None)):
            self.untold[kind] += 1
            asked, untold = self.asked[kind], self.untold[kind]
            if untold in WARNINGS and untold > UNTOLD_LIMIT * asked:
                shown = f"{untold:,} of {asked:,} answers ({untold / asked:.0%})"
                told = (
                    "of %s of the kind %s it cannot be told whether they are right: they are no reward and train nobody"
                )
                logging.getLogger(__name__).warning(told, shown, kind)
