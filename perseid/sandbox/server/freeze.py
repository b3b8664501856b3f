"""A program's state as bytes, so that a step after a dear prefix runs only itself.

Written by the child after a step, read by the child of a next step; the host only keeps the bytes. Whoever forged them
could as well have run other code in the first place: they are unpickled behind the same layers as the program itself.

Frozen are names bound to data (numbers, containers, sympy and numpy objects), modules, and functions without closure,
with the state of the random generators and a few settings. Whatever else is there (classes of the program's own, open
files, generators, any assignment to an attribute, which may have changed a module) makes the state `None`: then the
next step runs the prefix again. So does a state longer than `MAX_BYTES`.
"""

from __future__ import annotations

import decimal
import dis
import importlib
import io
import marshal
import pickle
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

MAX_BYTES = 256 << 10
_CHANGES = frozenset({"STORE_ATTR", "DELETE_ATTR"})
_HOMES = ("sympy", "numpy", "math", "mpmath", "itertools", "functools", "collections", "fractions", "random")
# Names whose use may change what no namespace holds: modules, files, the interpreter.
_HIDDEN = frozenset(
    {"setattr", "delattr", "__setattr__", "__dict__", "globals", "vars", "open", "exec", "eval", "seterr", "errstate"}
    | {"set_printoptions", "init_printing", "global_assumptions", "os", "sys", "builtins", "gc", "warnings", "pathlib"}
    | {"shutil", "tempfile", "threading", "signal", "atexit", "importlib", "ctypes", "logging", "inspect"}
)


class Unfreezable(Exception):
    """Something in the namespace cannot be carried over faithfully."""


def freeze(steps: list[str], namespace: dict[str, Any], before: dict[str, Any]) -> bytes | None:
    """The names of `namespace` that are not as in `before`, which every child starts with; None if not faithful."""
    if any(_changes_hidden_state(source) for source in steps):
        return None
    names = {name: value for name, value in namespace.items() if _to_carry(name, value, before)}
    imported = {name: module for name, value in names.items() if (module := _home(name, value)) is not None}
    made = {name: value for name, value in names.items() if name not in imported}
    buffer = _Capped()
    try:
        _Pickler(buffer, namespace, before).dump((imported, made, _settings()))
    except Exception:
        return None
    return buffer.getvalue()


class _Capped(io.BytesIO):
    """A buffer that refuses what would make it longer than `MAX_BYTES`."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MAX_BYTES:
            raise Unfreezable("too long")
        return super().write(data)


_ABSENT = object()


def _to_carry(name: str, value: Any, before: dict[str, Any]) -> bool:
    """Whether a name is new, rebound, or a container of the prelude that may have been changed in place."""
    if name.startswith("__") and name.endswith("__"):
        return False
    return before.get(name, _ABSENT) is not value or isinstance(value, (list, dict, set, bytearray))


def thaw(frozen: bytes, namespace: dict[str, Any]) -> None:
    """Put the state back. Raises whatever unpickling raises."""
    imported, made, settings = _Unpickler(io.BytesIO(frozen), namespace).load()
    namespace.update({name: getattr(importlib.import_module(module), name) for name, module in imported.items()})
    namespace.update(made)
    _set(settings)


def _home(name: str, value: Any) -> str | None:
    """The module that `name` was imported from, if `from module import name` or `*` would bring it back."""
    for module in _HOMES:
        if module in sys.modules and getattr(sys.modules[module], name, _ABSENT) is value:
            return module
    return None


def _changes_hidden_state(source: str) -> bool:
    for code in _codes(compile(source, "<step>", "exec", dont_inherit=True)):
        if not _HIDDEN.isdisjoint(code.co_names):
            return True
        if any(instruction.opname in _CHANGES for instruction in dis.get_instructions(code)):
            return True
    return False


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, namespace: dict[str, Any], before: dict[str, Any]) -> None:
        super().__init__(file, protocol=5)
        self._namespace, self._before = namespace, before

    def persistent_id(self, thing: Any) -> Any:
        """What is written by reference: modules, the prelude's own objects, and functions of the program by value."""
        if isinstance(thing, types.ModuleType):
            return "module", thing.__name__
        name = getattr(thing, "__name__", None)
        if isinstance(name, str) and self._before.get(name, _ABSENT) is thing:
            return "prelude", name
        if isinstance(thing, types.FunctionType) and thing.__globals__ is self._namespace:
            if thing.__closure__ or thing.__dict__:
                raise Unfreezable(thing.__name__)
            parts = (marshal.dumps(thing.__code__), thing.__name__, thing.__defaults__, thing.__kwdefaults__)
            return "function", parts
        if isinstance(thing, type) and thing.__module__ == "__main__":
            raise Unfreezable(str(name))
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, namespace: dict[str, Any]) -> None:
        super().__init__(file)
        self._namespace = namespace

    def persistent_load(self, reference: Any) -> Any:
        kind, what = reference
        if kind == "module":
            return importlib.import_module(what)
        if kind == "prelude":
            return self._namespace[what]
        code, name, defaults, keywords = what
        function = types.FunctionType(marshal.loads(code), self._namespace, name, defaults)
        function.__kwdefaults__ = keywords
        return function


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = {
        "random": random.getstate(),
        "recursion": sys.getrecursionlimit(),
        "decimal": decimal.getcontext().copy(),
    }
    if "numpy" in sys.modules:
        settings["numpy"] = sys.modules["numpy"].random.get_state()
    if "mpmath" in sys.modules:
        settings["mpmath"] = sys.modules["mpmath"].mp.prec
    if "sympy" in sys.modules:
        # Nameless symbols are told apart by a count, which must not begin anew beside those that exist.
        settings["dummies"] = sys.modules["sympy"].Dummy._count
    return settings


def _set(settings: dict[str, Any]) -> None:
    random.setstate(settings["random"])
    sys.setrecursionlimit(settings["recursion"])
    decimal.setcontext(settings["decimal"])
    if "numpy" in settings:
        sys.modules["numpy"].random.set_state(settings["numpy"])
    if "mpmath" in settings:
        sys.modules["mpmath"].mp.prec = settings["mpmath"]
    if "dummies" in settings:
        sys.modules["sympy"].Dummy._count = settings["dummies"]
