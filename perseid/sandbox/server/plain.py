"""Plain data over a line: what a call between the two halves of a grading may carry, and nothing that can act.

One JSON value a message. Scalars stand for themselves (NaN and the infinities by name, as Python's json writes them);
everything else is a list whose first item is its tag. Subclasses arrive as their plain base: a result whose `__eq__`
always agrees loses it on the way. Iterators arrive as iterators over their items, at most `MAX_ITEMS` of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

MAX_BYTES = 1 << 20
MAX_ITEMS = 10_000
_DEPTH = 100


class NotPlain(Exception):
    """A value that is no plain data: the grading cannot be split."""


def dump(value: Any) -> bytes:
    """`value` as one line. Raises `NotPlain`, also for what is too long or too deep."""
    line = json.dumps(_encode(value, 0)).encode()
    if len(line) >= MAX_BYTES:
        raise NotPlain(f"a message of {len(line)} bytes, limit {MAX_BYTES}")
    return line


def load(line: bytes) -> Any:
    """The value of a line. Raises `ValueError` when it is malformed."""
    try:
        return _decode(json.loads(line))
    except (RecursionError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"malformed message: {error}") from error


def _encode(value: Any, depth: int) -> Any:
    if depth > _DEPTH:
        raise NotPlain(f"a value nested more than {_DEPTH} deep")
    kind = type(value)
    if value is None or kind in (bool, str, float):
        return value
    if kind is int:
        return value if -(1 << 63) < value < 1 << 63 else ["int", hex(value)]
    for base, tag in _CONTAINERS:
        if isinstance(value, base):
            return [tag, *(_encode(item, depth + 1) for item in base.__iter__(value))]
    if isinstance(value, dict):
        pairs = dict.items(value)
        return ["dict", *([_encode(key, depth + 1), _encode(item, depth + 1)] for key, item in pairs)]
    return _encode_scalar(value, depth)


_CONTAINERS: tuple[tuple[Any, str], ...] = ((list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "frozenset"))


def _encode_scalar(value: Any, depth: int) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return [type(value).__name__ if type(value) in (bytes, bytearray) else "bytes", bytes(value).hex()]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _encode(int.__int__(value), depth)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Iterator):
        items = list(islice(value, MAX_ITEMS + 1))
        if len(items) > MAX_ITEMS:
            raise NotPlain(f"an iterator over more than {MAX_ITEMS} items")
        return ["iterator", *(_encode(item, depth + 1) for item in items)]
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _encode(value.item(), depth + 1)
    raise NotPlain(f"a value of type {type(value).__name__}")


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise ValueError("malformed message: an object")
        return value
    tag, items = value[0], value[1:]
    if tag == "dict":
        return {_decode(key): _decode(item) for key, item in items}
    if tag in ("bytes", "bytearray"):
        return (bytes if tag == "bytes" else bytearray).fromhex(items[0])
    return _BUILDERS[tag]([_decode(item) for item in items])


_BUILDERS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "iterator": iter,
    "int": lambda items: int(items[0], 16),
    "complex": lambda items: complex(*items),
    "range": lambda items: range(*items),
}
