"""The verdict on a function problem, from two executions: one held the generated code, the other held the tests.

The verdict is the tests' process's alone. `unsplittable` and `sandbox_error` say nothing about the code: count and
report them apart, never as a failure and never as a pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perseid.sandbox.execution import Execution

Verdict = Literal[
    "passed",  # every test ran to its end
    "failed",  # a test raised
    "broken",  # the code's process ended early (raised while loading, left, crashed, ran out) or broke the protocol
    "timeout",  # tests or code did not end in time
    "unsplittable",  # an argument or a result is no plain data: this way of grading cannot judge it
    "refused",  # code or tests over their limit
    "sandbox_error",  # infrastructure
]


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict, a line of reason for people (None when passed), and the two executions behind it."""

    verdict: Verdict
    reason: str | None
    code: Execution
    tests: Execution

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


def grade_of(code: Execution, tests: Execution, how: str | None) -> Grade:
    """The verdict of two executions; `how` is the tests' process's own word for its end."""
    for execution in (tests, code):
        if execution.status in ("sandbox_error", "refused"):
            return Grade(_as_verdict(execution), execution.error, code, tests)
    if how == "unsplittable":
        return Grade("unsplittable", tests.error, code, tests)
    if tests.status == "ok":
        return Grade("passed", None, code, tests)
    if "timeout" in (tests.status, code.status):
        return Grade("timeout", tests.error, code, tests)
    if how == "lost":
        return Grade("broken", tests.error if code.status == "ok" else f"{code.status}: {code.error}", code, tests)
    return Grade("failed", tests.error, code, tests)


def _as_verdict(execution: Execution) -> Verdict:
    return "refused" if execution.status == "refused" else "sandbox_error"
