"""The judge: the one place that knows the right answers. It tells only whether an answer is right, or that it cannot.

A problem names its kind of answer, and the kind the grader, never the answer: so no dress of an answer buys it a more
lenient comparison.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from perseid.errors import UserError
from perseid.graders.grader import Asked, Grader, Verdict
from perseid.graders.kinds import BUILT_IN
from perseid.problems.problem import Gold, Problem


class Judge:
    """Grades answers to the problems it holds gold for.

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
        grader = self._graders[self._kinds[problem_id]]
        return await grader.grade([Asked(problem, gold, answer) for answer in answers])
