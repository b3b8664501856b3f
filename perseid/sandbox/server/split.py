"""Grading in two processes: one holds the generated code and answers calls, the other holds the tests and asks.

The tests' process never holds generated code, and the code's process never sees an expected answer. A call carries an
id drawn for it alone, which the answer must repeat: answers written ahead of their question do not count. What goes
wrong on the line ends the tests' process at once with its own record, past any `except` that a test may contain.
"""

from __future__ import annotations

import builtins
import types
from os import read, urandom, write
from typing import Any

from . import plain

CHANNEL_FD = 7
# The first call, answered once the code has loaded: code that does not load fails even tests that call nothing.
_READY = ""


class CandidateError(Exception):
    """An exception of a type that the tests' process does not know."""


class Lost(BaseException):
    """Why the grading cannot go on; `how` is what the record will say."""

    def __init__(self, how: str, why: str) -> None:
        super().__init__(why)
        self.how = how


class Channel:
    """Lines over the socket between the two halves."""

    def __init__(self) -> None:
        self._pending = b""

    def send(self, line: bytes) -> None:
        """Write one line; raises `OSError` when the other half is gone."""
        rest = line + b"\n"
        while rest:
            rest = rest[write(CHANNEL_FD, rest) :]

    def receive(self) -> bytes | None:
        """The next line; None when the other half is gone. Raises `ValueError` for one that is too long."""
        while b"\n" not in self._pending:
            chunk = read(CHANNEL_FD, 1 << 16)
            if not chunk:
                return None
            self._pending += chunk
            if len(self._pending) > 2 * plain.MAX_BYTES:
                raise ValueError("a message over its limit")
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def answer_calls(namespace: dict[str, Any]) -> None:
    """The code's half: answer calls of functions in `namespace` until the tests' half hangs up."""
    channel = Channel()
    while (line := channel.receive()) is not None:
        number, name, arguments, keywords = plain.load(line)
        channel.send(_answer(namespace, number, name, arguments, keywords))


def _answer(namespace: dict[str, Any], number: str, name: str, arguments: list[Any], keywords: dict[str, Any]) -> bytes:
    try:
        return _call(namespace, number, name, arguments, keywords)
    except plain.NotPlain as reason:
        return plain.dump([number, "not plain", str(reason), None, []])


def _call(namespace: dict[str, Any], number: str, name: str, arguments: list[Any], keywords: dict[str, Any]) -> bytes:
    given = [*arguments, *keywords.values()]
    before = [plain.dump(value) if isinstance(value, _MUTABLE) else b"" for value in given]
    try:
        if name == _READY:
            return plain.dump([number, "returned", None, None, []])
        if name not in namespace:
            raise NameError(f"name '{name}' is not defined")
        result = namespace[name](*arguments, **keywords)
    except Exception as error:
        return plain.dump([number, "raised", type(error).__name__, str(error)[:1000], _changed(given, before)])
    same = next((place for place, value in enumerate(given) if value is result), None)
    if same is not None and isinstance(result, _MUTABLE):
        return plain.dump([number, "argument", same, None, _changed(given, before)])
    return plain.dump([number, "returned", result, None, _changed(given, before)])


_ENDS_OF_LOOPS = (StopIteration, StopAsyncIteration)
_MUTABLE = (list, dict, set, bytearray)


def _changed(given: list[Any], before: list[bytes]) -> list[tuple[int, Any]]:
    """Place and new value of every argument that the call changed in place."""
    return [
        (place, value)
        for place, (value, line) in enumerate(zip(given, before, strict=True))
        if line and plain.dump(value) != line
    ]


class Proxy:
    """The tests' half of one function: a call here is a call there."""

    def __init__(self, channel: Channel, name: str, lose: Any) -> None:
        self._channel, self._lose = channel, lose
        self.__name__ = name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        given = [*arguments, *keywords.values()]
        try:
            how, value, message, changed = self._ask(list(arguments), keywords)
        except Lost as reason:
            self._lose(reason)
        for place, new in changed:
            _overwrite(given[place], new)
        if how == "raised":
            raise _exception(value, message)
        return given[value] if how == "argument" else value

    def _ask(self, arguments: list[Any], keywords: dict[str, Any]) -> tuple[str, Any, str, list[tuple[int, Any]]]:
        number = urandom(8).hex()
        try:
            self._channel.send(plain.dump([number, self.__name__, arguments, keywords]))
        except plain.NotPlain as reason:
            raise Lost("unsplittable", f"an argument is {reason}") from None
        except OSError:
            raise Lost("lost", "the code's process ended before the call") from None
        try:
            line = self._channel.receive()
            if line is None:
                raise Lost("lost", "the code's process ended during the call")
            answered, how, value, message, changed = plain.load(line)
            if how == "argument" and not 0 <= value < len(arguments) + len(keywords):
                raise ValueError("a place that is no argument")
            if any(not 0 <= place < len(arguments) + len(keywords) for place, _ in changed):
                raise ValueError("a change to what is no argument")
        except (ValueError, TypeError) as error:
            raise Lost("lost", f"answer: {error}") from None
        except OSError:
            raise Lost("lost", "the code's process ended during the call") from None
        if answered != number:
            raise Lost("lost", "an answer without its question's id")
        if how == "not plain":
            raise Lost("unsplittable", f"the result is {value}")
        return how, value, message, changed


def _overwrite(target: Any, new: Any) -> None:
    """Give a mutable argument the contents that the call left in it."""
    if isinstance(target, (list, bytearray)):
        target[:] = new
    elif isinstance(target, (dict, set)):
        target.clear()
        target.update(new)


def _exception(name: Any, message: Any) -> Exception:
    """The exception that the code raised. Not one that would end a loop of the tests as if nothing were left."""
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _ENDS_OF_LOOPS):
        try:
            return kind(message)
        except TypeError:
            return CandidateError(f"{name}: {message}")
    return CandidateError(f"{name}: {message}")


def run_tests(source: str, entry_point: str, namespace: dict[str, Any], lose: Any) -> None:
    """The tests' half: run `source` with its unknown names standing for functions there, then `check`, if it has one.

    lose: called with `Lost`; must end the process.
    """
    code = compile(source, "<tests>", "exec", dont_inherit=True)
    channel = Channel()
    proxy = Proxy(channel, entry_point, lose)
    Proxy(channel, _READY, lose)()
    for name in _names(code) - set(dir(builtins)) - set(namespace):
        namespace[name] = Proxy(channel, name, lose)
    namespace[entry_point] = namespace["candidate"] = proxy
    exec(code, namespace)
    check = namespace.get("check")
    if isinstance(check, types.FunctionType):
        check(proxy)


def _names(code: types.CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*(_names(part) for part in inner))
