"""Boolean: kind `boolean`. Yes or true, no or false, in whatever dress and case, and nothing beside; never 1 or 0."""

from __future__ import annotations

from typing import Any, Final

from perseid.graders.grader import Comparison, Verdict
from perseid.wrapped import bare

MAX_LENGTH: Final = 4096  # characters of an answer
SAID: Final = {"yes": True, "true": True, "no": False, "false": False}


def said(text: Any) -> bool | None:
    """What it says; None where it says neither."""
    if isinstance(text, str) and len(text) <= MAX_LENGTH:
        return SAID.get(bare(text).casefold())
    return text if isinstance(text, bool) else None


def compare(answer: str, gold: Any) -> Verdict:
    right = said(gold)
    return None if right is None else said(answer) is right


GRADERS: Final = {"boolean": Comparison("boolean 1", compare)}
