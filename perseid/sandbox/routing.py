"""What the fast tier leaves to CPython: seen in the text of a step before it runs, or in how it ended.

The fast tier's word counts where CPython would say the same. So an error is the code's only if its kind and text come
from the code alone; a step that could catch an error that CPython would not raise, names what this Python lacks, or is
written in a later Python's syntax is CPython's from the start.
"""

from __future__ import annotations

import builtins
import functools
import itertools
import math
import random
import re
import sys
import types
from typing import Final

from perseid.sandbox.wire import Raised

# Modules whose behaviour the differential test found equal. Everything else goes to the CPython tier at once.
MODULES: Final = frozenset({
    "__future__", "bisect", "collections", "copy", "dataclasses", "functools", "itertools", "json", "math", "random",
    "re", "typing",
})  # fmt: skip
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([^\n#;]+))", re.MULTILINE)
# Names that later versions of Python gave to these modules, and the fast tier has.
_LATER: Final[tuple[tuple[types.ModuleType, tuple[str, ...]], ...]] = (
    (math, ("sumprod", "fma")),
    (itertools, ("batched",)),
    (random, ("binomialvariate",)),
    (functools, ("Placeholder",)),
    (re, ("PatternError",)),
)
_LACKING: Final = "".join(f"|{name}" for module, names in _LATER for name in names if not hasattr(module, name))
# Words whose meaning in monty differs from CPython without an error: clocks and sleeps, the interpreter's own insides,
# what passes over an attribute that is missing.
_WORDS = re.compile(
    rf"\b(?:sleep|eval|exec|open|hasattr|getattr|cbrt|ulp|from_number|copy\.replace{_LACKING})\b"
    r"|\b(?:__\w+__|hash|id|dir|vars)\s*\(|;[ \t]*(?:import|from)\b"
)
# Sets keep another order in monty, and these iterators are lists there: only where neither shows.
_ORDER_OR_ITERATOR = re.compile(
    r"(?<!\bsorted\()(?<!\blen\()(?<!\bsum\()\b(?:frozen)?set\(|\bsorted\(set\(.{0,300}\bkey\b"
    r"|(?<!\bin )(?<!\blist\()(?<!\bdict\()(?<!\btuple\()(?<!\bjoin\()(?<!\bsorted\()\b(?:enumerate|reversed)\b"
)
_MADE_IN_BRACES = re.compile(r"\{[^{}:]*\sfor\s")
# What betrays in the output that one of the two wrote it: objects by their address, a set, a range.
_PRINTED = re.compile(r"<[\w. ]+ at 0x|<(?:class|function|built-in|bound|generator)\b|\{[^{}:]+\}|\brange\(")
# Only what no gap of monty's raises may be caught, and not looked at.
_CATCHES = re.compile(r"^[ \t]*(?:except\b(.*)|finally\b)", re.MULTILINE)
_HARMLESS: Final = r"(?:ZeroDivisionError|IndexError|KeyError)"
_CATCHES_HARMLESSLY = re.compile(rf"(?:{_HARMLESS}|\({_HARMLESS}(?:,{_HARMLESS})*,?\)):.*")
_RETURN = re.compile(r"^return\b", re.MULTILINE)
_RETURN_WITHIN = re.compile(r"^[ \t]*return\b", re.MULTILINE)
# Syntax of 3.12 and later.
_TYPE_PARAMETERS = re.compile(r"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+\w+[ \t]*\[", re.MULTILINE)
_FORMATTED = re.compile(
    r"(?<!\w)(?:[fF][rR]?|[rR][fF])(?:\"\"\"(.*?)(?:\"\"\"|\Z)|'''(.*?)(?:'''|\Z)"
    r"|\"((?:[^\"\\\n]|\\.)*)|'((?:[^'\\\n]|\\.)*))",
    re.DOTALL,
)
_MISSING_ATTRIBUTE = re.compile(r"(?:module '[\w.]+'|'(\w+)' object|type object '(\w+)') has no attribute '(\w+)'")
_MISSING_NAME = re.compile(r"name '(\w+)' is not defined")
# Kinds that no gap of monty's is known to raise.
_CERTAIN: Final = (ZeroDivisionError, IndexError, KeyError, AssertionError)
# Texts with which CPython raises the same, whatever the value: no gap.
_CERTAIN_TEXTS: Final = re.compile(
    r"expected string or bytes-like object, got '(?:list|int|NoneType|dict|float|tuple|set|bool)'"
    r"|invalid literal for int\(\) with base 10: '[A-Za-z.,:;!?$%()=/*\[\]{}-][ -~]*'"
    r"|could not convert string to float: '[A-DF-HJ-MO-Za-df-hj-mo-z,:;!?$%()=/*\[\]{}][ -~]*'"
    r"|not enough values to unpack \(expected \d+, got \d+\)|too many values to unpack \(expected \d+.*"
    r"|list\.remove\(x\): x not in list|substring not found"
)


def routed_to_cpython(step: str) -> bool:
    """Whether `step` names something that the fast tier lacks or does otherwise, seen without running it."""
    if "import" in step:
        for match in _IMPORT.finditer(step):
            names = match[1] or match[2]
            for name in names.split(","):
                if name.split()[:1] and name.split()[0].split(".")[0] not in MODULES:
                    return True
    if _WORDS.search(step) is not None or _shows_order(step) or _ends_wrongly(step):
        return True
    for match in _CATCHES.finditer(step):
        if match[1] is None or not _CATCHES_HARMLESSLY.fullmatch("".join(match[1].split())):
            return True
    return sys.version_info < (3, 12) and _is_later_python(step)


def _shows_order(step: str) -> bool:
    if "{" in step and _MADE_IN_BRACES.search(step) is not None:
        return True
    # Most steps have none of these words, and the pattern looks back at every place.
    named = "set(" in step or "enumerate" in step or "reversed" in step
    return named and _ORDER_OR_ITERATOR.search(step) is not None


def prints_otherwise(stdout: str) -> bool:
    """Whether `stdout` shows something that CPython would write in another way."""
    return _PRINTED.search(stdout) is not None


def _ends_wrongly(step: str) -> bool:
    """Whether `step` breaks a rule of syntax that monty lets pass: a last line to be continued, a return outside of
    functions, as far as that shows in the text."""
    if step.rstrip().endswith("\\"):
        return True
    outside = _RETURN if "def" in step else _RETURN_WITHIN
    return "return" in step and outside.search(step) is not None


def _is_later_python(step: str) -> bool:
    if _TYPE_PARAMETERS.search(step) is not None:
        return True
    return any(_is_later_text(next(filter(None, match.groups()), "")) for match in _FORMATTED.finditer(step))


def _is_later_text(body: str) -> bool:
    """Whether a formatted text, read up to its first quotation mark, needs more: braces that do not close before it, a
    backslash or a comment between them."""
    depth = 0
    for char in body.replace("{{", "").replace("}}", ""):
        depth += (char == "{") - (char == "}")
        if depth < 0 or (depth > 0 and char in "\\#"):
            return True
    return depth != 0


def doubtful(raised: Raised, texts: tuple[str, ...] = ()) -> bool:
    """Whether `raised` may come from a gap in monty rather than from the code, whose sources are `texts`."""
    if raised.kind in _CERTAIN:
        return "Internal error in monty" in raised.text
    if raised.kind in (ValueError, TypeError):
        return _CERTAIN_TEXTS.fullmatch(raised.text) is None and not _is_written(raised, texts)
    if raised.kind is NameError:
        name = _MISSING_NAME.search(raised.text)
        return name is None or hasattr(builtins, name[1]) or name[1] in ("exit", "quit", "__file__", "__name__")
    if raised.kind is AttributeError:
        return _known_attribute(raised.text)
    return not _is_written(raised, texts)


def _is_written(raised: Raised, texts: tuple[str, ...]) -> bool:
    """Whether the code raises this, word for word."""
    if not issubclass(raised.kind, Exception) or issubclass(raised.kind, MemoryError):
        return False
    call = f"raise {raised.kind.__name__}("
    return any(f"{call}{quote}{raised.text}{quote})" in text for text in texts for quote in "'\"")


def _known_attribute(message: str) -> bool:
    match = _MISSING_ATTRIBUTE.search(message)
    if match is None or match[0].startswith("module"):
        return True
    owner = getattr(builtins, match[1] or match[2], None)
    return not isinstance(owner, type) or hasattr(owner, match[3])
