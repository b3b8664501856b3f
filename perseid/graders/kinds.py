"""The kinds of answers there are, each with its grader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from perseid.graders import mathematics, numbers, text
from perseid.graders.grader import Comparison, Grader, Verdict
from perseid.graders.mathematics import Mathematics

COMPARING: Final[Mapping[str, Comparison | Mathematics]] = {**numbers.GRADERS, **text.GRADERS, **mathematics.GRADERS}
BUILT_IN: Final[Mapping[str, Grader]] = COMPARING  # those that need nothing beside the answer and the gold


def equivalent(answer: str, gold: Any, kind: str = "math") -> Verdict:
    """Whether `answer` is right where `gold` is, compared as `kind` says; None: cannot tell."""
    return COMPARING[kind].verdict(answer, gold)
