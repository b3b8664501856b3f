"""What merely wraps a text, where it wraps all of it: dollars, brackets of a formula, bold, back-ticks, `\\text{}`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

PAIRS: Final = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`"), ("*", "*"))
COMMAND: Final = re.compile(r"\\(?:boxed|fbox|text|textbf|mathrm|mathbf)\s*\{")
SPECIAL: Final = re.compile(r"[\\{}]")
FORMULA: Final = re.compile(r"\$(?=\S)(?:[^$\n\\]|\\.)*?(?<=\S)\$(?!\d)")
MOST: Final = 16  # layers


def bare(text: str) -> str:
    """Without white space, a last full stop and wrappings around it."""
    for _ in range(MOST):
        inner = _without_one(text)
        if inner == text:
            break
        text = inner
    return text


def _without_one(text: str) -> str:
    text = text.strip()
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip()
    for opening, closing in PAIRS:
        inner = text[len(opening) : -len(closing)]
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            escaped = inner.endswith("\\") and closing.startswith(("$", "*", "`"))
            if opening not in inner and closing not in inner and not escaped:
                return inner
    command = COMMAND.match(text)
    if command is not None and braces(text).get(command.end() - 1) == len(text) - 1:
        return text[command.end() : -1]
    return text


def braces(text: str) -> dict[int, int]:
    """Where each brace that opens is closed; those that never are do not stand in it, nor do escaped ones."""
    closed: dict[int, int] = {}
    still_open: list[int] = []
    at = 0
    while (at := _next(text, at)) < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "{":
            still_open.append(at)
        elif still_open:
            closed[still_open.pop()] = at
        at += 1
    return closed


def _next(text: str, at: int) -> int:
    found = SPECIAL.search(text, at)
    return found.start() if found else len(text)


def outside(text: str) -> Iterator[int]:
    """The places of a text that stand in no braces and in no formula between dollars of one line.

    A dollar begins a formula if no space follows it, and ends one if no space stands before it and no digit behind:
    the others are money.
    """
    closed, at = braces(text), 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == "{" and at in closed:
            at = closed[at] + 1
        elif formula := FORMULA.match(text, at):
            at = formula.end()
        else:
            yield at
            at += 1
