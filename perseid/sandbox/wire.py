"""The protocol of monty's worker processes, as far as the fast tier speaks it: frames of protobuf over two pipes.

Every request is answered by any number of `PRINT` events and then one other. The process reads its requests one after
the other, so several may be sent at once; that is why this is spoken here and not through the package's own pool, which
waits for the answer to each. A frame is a length (4 bytes, little-endian) and a message; the process refuses another
version of the protocol. Fields are named in monty's `monty.proto`.
"""

from __future__ import annotations

import builtins
import dataclasses
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perseid.sandbox.limits import Limits

_PROTOCOL: Final = 6
# Less deep than CPython goes: what goes deeper is CPython's to end.
_RECURSION, _SUSPENSIONS = 900, 1000
# Kinds of events.
PRINT, NAME_LOOKUP, COMPLETE, ERROR, DUMPED, OK, FATAL = 1, 4, 6, 7, 9, 10, 11
_STDOUT: Final = 1
_FEED_MICROSECONDS: Final = 24


@dataclass(frozen=True, slots=True)
class Raised:
    """What ended a program: the exception's class and its text, as `str` would give it."""

    kind: type[BaseException]
    text: str


def configure(limits: Limits) -> bytes:
    """Open a session under `limits`: clock in UTC, random numbers from seed 0, assertions without annotations."""
    micros = int(limits.timeout_s * 1e6)
    resources = (
        _number(2, limits.memory_bytes)
        + _number(4, _RECURSION)
        + _number(5, _SUSPENSIONS)
        + _number(6, micros)
        + _number(8, micros)
    )
    longest_sleep = _part(5, _part(1, _number(1, 10_000_000)))
    policy = _part(1, b"") + _part(4, _part(1, b"")) + longest_sleep + _part(8, _part(1, b"\0")) + _part(9, b"")
    return _request(
        1,
        _part(1, b"main.py")
        + _part(2, resources)
        + _part(5, b"perseid")
        + _number(6, 0)
        + _number(7, 1)
        + _number(9, _PROTOCOL)
        + _part(11, policy),
    )


def feed(code: str) -> bytes:
    """Run `code` in the session. The closing None keeps its last value, of any size, from being sent back.

    Raises `UnicodeEncodeError` for half surrogates.
    """
    return _request(3, _part(1, f"{code}\nNone".encode()) + _part(3, b"") + _part(5, b"/"))


def load(snapshot: bytes) -> bytes:
    """Put a session's state back into one in which nothing ran."""
    return _request(8, _part(1, snapshot))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _request(field: int, content: bytes) -> bytes:
    message = _part(field, content)
    return len(message).to_bytes(4, "little") + message


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)


DUMP: Final = _request(7, b"")
RESET: Final = _request(9, b"")
UNDEFINED: Final = _request(5, _part(3, b""))


def kind(event: bytes) -> int:
    """Which event: the message's first field."""
    return event[0] >> 3 if event else 0


def body(event: bytes) -> bytes:
    """The content of the event's first field."""
    return next((value for _, value in _fields(event) if isinstance(value, bytes)), b"")


def feed_s(event: bytes) -> float:
    """Seconds that the feed which `event` ended took, by the interpreter's own clock."""
    return next((value / 1e6 for field, value in _fields(event) if field == _FEED_MICROSECONDS), 0.0)  # type: ignore[operator]


def snapshot(event: bytes) -> bytes:
    """The state that a `DUMPED` event carries."""
    return body(body(event))


def printed(event: bytes) -> str:
    """What a `PRINT` event says was written to standard output."""
    texts = []
    for _, segment in _fields(body(event)):
        parts = dict(_fields(segment))  # type: ignore[arg-type]
        if parts.get(1) == _STDOUT:
            texts.append(parts.get(2, b""))
    return b"".join(texts).decode("utf-8", "replace")  # type: ignore[arg-type]


def raised(event: bytes) -> Raised | None:
    """What an `ERROR` event says was raised; None for a class that this Python lacks."""
    name, message = "", None
    for field, value in _fields(body(body(event))):
        if field == 1:
            name = value.decode()  # type: ignore[union-attr]
        elif field == 2:
            message = value.decode("utf-8", "replace")  # type: ignore[union-attr]
        else:
            break
    found = _exception(name)
    if found is None:
        return None
    return Raised(found, "" if message is None else repr(message) if issubclass(found, KeyError) else message)


def _exception(name: str) -> type[BaseException] | None:
    module, _, short = name.rpartition(".")
    if short == "FrozenInstanceError":
        return dataclasses.FrozenInstanceError
    owner = importlib.import_module(module) if module in ("decimal", "json", "re") else builtins
    found = getattr(owner, "error" if name == "re.PatternError" else short, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields, in order. Raises `ValueError` for one that is malformed."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        if tag & 7 == 0:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
        elif tag & 7 == 2:
            size, at = _read_varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        else:
            at += {1: 8, 5: 4}[tag & 7]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    digit = message[at]
    at += 1
    if digit < 128:
        return digit, at
    value, shift = digit & 127, 7
    while True:
        digit = message[at]
        at += 1
        value |= (digit & 127) << shift
        if digit < 128:
            return value, at
        shift += 7
