"""A prelude by parts, so that a program carries only those that it can tell from being there.

A library of forty functions makes every snapshot of the fast tier fifty times as large as a step's own state. A
definition that a program never names, directly or through others that it names, does nothing for it; so definitions
are run just before the first step in whose text one of their names stands.

Exact because only definitions wait whose moment does not matter: functions, imports, and constants made of literals,
each together with everything whose names it uses. Any other statement is run at the start, with all that it names; a
step that could see names without writing them (`globals`, `dir`, `__dict__`, ...) gets everything.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"[^\W\d]\w*")
_ALL: Final = re.compile(r"\b(?:globals|locals|vars|dir|eval|exec|__\w+__)\b|\bimport[ \t]*(?:\([ \t]*)?\*")
_CLOCK: Final = re.compile(r"\b(?:time|now|today|utcnow|monotonic|perf_counter|urandom|SystemRandom)")
# A step that only gives a text a name, as the first step of most programs does; no name stands in the text.
_NAMED_TEXT: Final = re.compile(r"""\s*(\w+) = (?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')\s*""")
# Builtins that make containers of what they are given, and touch nothing else.
_MAKERS: Final = frozenset({"dict", "list", "set", "tuple", "frozenset"})
_PLAIN: Final = (
    *(ast.Constant, ast.Name, ast.Load, ast.UnaryOp, ast.USub),
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.keyword),
)
_SEEING: Final = frozenset({"globals", "locals", "vars", "dir", "eval", "exec"})


@dataclass(frozen=True)
class _Part:
    """A statement. names: all that it binds or uses. waits: whether it may be run later than at the start.

    keys: the names whose appearance in a program makes it wanted: those that it binds, and those that it uses when
    it is run, which a program might have bound otherwise by then.
    """

    source: str
    names: frozenset[str]
    keys: frozenset[str]
    waits: bool


class Prelude:
    """The parts of `source`. Raises `SyntaxError`."""

    def __init__(self, source: str) -> None:
        self._parts = [_part(node, source) for node in ast.parse(source).body if not _is_text(node)]
        self._keys = frozenset().union(*(part.keys for part in self._parts))
        self._everything = frozenset(range(len(self._parts)))
        self._plain_keys = all(map(str.isascii, self._keys))
        atstart = frozenset(number for number, part in enumerate(self._parts) if not part.waits)
        self._start = self._closure(atstart)
        self.start = self._text(self._start)
        self.wanted = lru_cache(4096)(self._wanted)
        self.reads_clock = lru_cache(4096)(self._reads_clock)
        self._of_names = lru_cache(4096)(self._closure_of_names)
        self._added = lru_cache(4096)(self._text)

    def before(self, steps: tuple[str, ...]) -> str:
        """What to run before the last of `steps`, the others having run with what was to be run before them."""
        last = self.wanted(steps[-1]) - self._start
        if not last:
            return ""
        for step in steps[:-1]:
            last -= self.wanted(step)
        return self._added(last) if last else ""

    def _reads_clock(self, step: str) -> bool:
        """Whether `step` might come to something else when it is run again later."""
        return _CLOCK.search(step) is not None or _CLOCK.search(self._added(self.wanted(step))) is not None

    def _wanted(self, step: str) -> frozenset[int]:
        """The parts that a program with `step` in it needs."""
        if named := _NAMED_TEXT.fullmatch(step):
            step = named[1]
        if not step.isascii():
            if not self._plain_keys:
                return self._everything
            step = f"{step}\n{_characters_normalized(step)}"
        if _ALL.search(step):
            return self._everything
        return self._of_names(self._keys.intersection(_WORD.findall(step)))

    def _closure_of_names(self, names: frozenset[str]) -> frozenset[int]:
        return self._closure(frozenset(number for number, part in enumerate(self._parts) if part.keys & names))

    def _closure(self, wanted: frozenset[int]) -> frozenset[int]:
        """`wanted`, and the parts that those name, and so on."""
        while True:
            names = frozenset().union(*(self._parts[number].names for number in wanted))
            if names & _SEEING:
                return self._everything
            wider = wanted | {number for number, part in enumerate(self._parts) if part.keys & names}
            if wider == wanted:
                return wanted
            wanted = wider

    def _text(self, parts: frozenset[int]) -> str:
        return "\n".join([self._parts[number].source for number in sorted(parts)])


def _characters_normalized(step: str) -> str:
    """`step`, each character for itself in the form that Python gives to names.

    A name comes to be plain ASCII only by characters that do so one by one. In one go, a long row of combining marks
    takes time by the square of its length.
    """
    return "".join([unicodedata.normalize("NFKC", char) for char in step])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _part(node: ast.stmt, source: str) -> _Part:
    lines = source.splitlines(keepends=True)
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
    names = frozenset(_names(node))
    text = "".join(lines[first - 1 : node.end_lineno])
    if isinstance(node, ast.FunctionDef) and not node.decorator_list:
        at_once = [*node.args.defaults, *filter(None, node.args.kw_defaults), *_annotations(node)]
        keys = frozenset({node.name}.union(*map(_names, at_once)))
        return _Part(text, names, keys, all(map(_is_plain, at_once)))
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return _Part(text, names, names, "*" not in names)
    if isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
        return _Part(text, names, names, _is_plain(node.value))
    return _Part(text, names, names, False)


def _annotations(node: ast.FunctionDef) -> list[ast.expr]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [found for found in (node.returns, *(one.annotation for one in every if one is not None)) if found]


def _names(node: ast.AST) -> Iterator[str]:
    """Every name in `node`, whatever it is there for."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.alias):
            yield from (*part.name.split("."), *filter(None, [part.asname]))
        elif isinstance(part, ast.ImportFrom):
            yield from (part.module or "").split(".")
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield part.name
        elif isinstance(part, (ast.Global, ast.Nonlocal)):
            yield from part.names


def _is_plain(node: ast.expr) -> bool:
    """Whether `node` comes to the same at any time: literals and names, and containers of them."""
    for part in ast.walk(node):
        if isinstance(part, ast.Call):
            function = part.func
            if isinstance(function, ast.Attribute):
                function = function.value
            if not isinstance(function, ast.Name) or function.id not in _MAKERS:
                return False
        elif isinstance(part, ast.Attribute):
            if not isinstance(part.value, ast.Name) or part.value.id not in _MAKERS:
                return False
        elif not isinstance(part, _PLAIN):
            return False
    return True
