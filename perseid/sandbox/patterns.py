"""Which uses of `re` mean the same to both tiers, as far as a step's text shows.

The fast tier's regular expressions are another language: `$` does not match before a last newline, an empty match does
not follow another match, `&&` and `[:alpha:]` have a meaning within a class, octal escapes and inline flags have none,
and what is a letter or a space beyond ASCII differs. A step stays where its patterns stand as literals in its text,
use the common part alone, and never match the empty text; everything else is CPython's.
"""

from __future__ import annotations

import importlib
import re
from functools import lru_cache
from typing import Any, Final

_WORD: Final = re.compile(r"\bre\b")
_IMPORT: Final = re.compile(r"^[ \t]*import[ \t]+re[ \t]*$", re.MULTILINE)
# How a text could come to hold what is not ASCII, or a call might mean another thing.
_BEYOND: Final = re.compile(r"\\[xuUN0-7]|\bchr\b|\"\"\"|'''|\bencode\b|\bdecode\b|\bjson\b")
_LITERAL: Final = r"(['\"])((?:(?!\{0})[^\\\n]|\\.)*)\{0}"
_CALL: Final = re.compile(
    r"\bre\.(?:(?:findall|finditer|search|match|fullmatch|split)\(\s*(r?)" + _LITERAL.format(2) + r"\s*,"
    r"|sub\(\s*(r?)" + _LITERAL.format(5) + r"\s*,\s*r?(['\"])[^'\"\\$\n]*\7\s*,)"
)
# What is not of the common part, wherever it stands: extensions other than a plain group, the end of the text, classes
# within classes and operators on them, escapes other than those of classes, words and marks.
_OWN: Final = re.compile(r"\(\?(?!:)|\$|\[[^\]]*\[|\[\^?\]|&&|\|\||~~|--|\\[^dswDSWb.,:;=+*/()?\[\]{}|^$%!<>@# -]")
_NODES: Final = frozenset(
    {"LITERAL", "NOT_LITERAL", "ANY", "IN", "BRANCH", "SUBPATTERN", "MAX_REPEAT", "MIN_REPEAT", "AT", "RANGE"}
    | {"CATEGORY", "NEGATE"}
)
_PATTERN_CHARS: Final = 200


def alike(steps: tuple[str, ...]) -> bool:
    """Whether all that the last of `steps` does with `re` means the same to both tiers."""
    last = steps[-1]
    if _WORD.search(last) is None:
        return True
    if _BEYOND.search(_CALL.sub("", last)) is not None or not all(map(str.isascii, steps)):
        return False
    rest = _CALL.sub(lambda call: "" if _is_common(call) else "re", _IMPORT.sub("", last))
    return _WORD.search(rest) is None


def _is_common(call: re.Match[str]) -> bool:
    raw, pattern = (call[1], call[3]) if call[3] is not None else (call[4], call[6])
    if not raw and re.search(r"\\[^dswDSW.+*/()?\[\]{}|^-]", pattern):
        return False
    return _is_common_pattern(pattern)


@lru_cache(1024)
def _is_common_pattern(pattern: str) -> bool:
    if len(pattern) > _PATTERN_CHARS or not pattern.isascii() or _OWN.search(pattern) is not None:
        return False
    parser: Any = importlib.import_module("re._parser")
    try:
        parsed = parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return parsed.getwidth()[0] > 0 and all(_node_is_common(node, repeated=False) for node in parsed)


def _node_is_common(node: tuple[Any, Any], repeated: bool) -> bool:
    """Whether a node of a parsed pattern is. repeated: whether it may match more than once in one match."""
    kind, value = str(node[0]), node[1]
    if kind not in _NODES:
        return False
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        _, most, inner = value
        return inner.getwidth()[0] > 0 and all(_node_is_common(part, repeated or most > 1) for part in inner)
    if kind == "SUBPATTERN":
        group, _, _, inner = value
        return not (repeated and group is not None) and all(_node_is_common(part, repeated) for part in inner)
    if kind == "BRANCH":
        return all(_node_is_common(part, repeated) for branch in value[1] for part in branch)
    return True
