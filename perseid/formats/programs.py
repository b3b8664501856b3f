"""When two programs are the same: their text without comments, blank lines and spaces at the ends of lines."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

UNQUOTED: Final = re.compile(r"[ \n!#%&(->@-\[\]-_a-~]*")  # no quote, no backslash: every # begins a comment


@lru_cache(maxsize=10_000)
def without_comments(code: str) -> str:
    """Without comments, blank lines and spaces at the ends of lines, where these mean nothing.

    What is not made of Python's tokens stays as it is, and so does what ends a line with a backslash. Remembered: the
    siblings of a node are compared with every new sample.
    """
    if UNQUOTED.fullmatch(code):
        lines = (line.partition("#")[0].rstrip() for line in code.split("\n"))
        return "\n".join(line for line in lines if line)
    text = code.replace("\r\n", "\n").replace("\r", "\n")  # as the compiler does
    if "\\\n" in text:
        return code
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
        return code
    return code if any(token.type == tokenize.ERRORTOKEN for token in tokens) else _stripped(text, tokens)


def _stripped(code: str, tokens: Sequence[tokenize.TokenInfo]) -> str:
    """A line whose end is inside a string keeps it, and the line after it. Token rows begin at 1."""
    lines = code.split("\n")
    in_string: set[int] = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
        else:
            in_string.update(range(token.start[0] - 1, token.end[0] - 1))
    lines = [line if index in in_string else line.rstrip(" \t\f") for index, line in enumerate(lines)]
    return "\n".join(line for index, line in enumerate(lines) if line or index in in_string)
