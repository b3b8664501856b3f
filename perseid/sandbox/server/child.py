"""The child of one execution: runs the steps and says how they ended. Everything here shares a process with the code.

Nothing it reports is trusted for a verdict: the supervisor takes status, times and exit from the kernel, and believes
the record only about which way an execution ended that the kernel also saw end by itself. The record carries a nonce
and is written by functions bound before the code runs, so that patched modules and blind writes do not forge it; code
that walks this very stack can, and gains nothing but its own word `ok`.
"""

from __future__ import annotations

import builtins
import json
import sys
from base64 import b85decode, b85encode
from contextlib import suppress
from os import _exit, close, dup2, read, write
from time import process_time
from typing import Any, NoReturn

from . import freeze, split

# Functions defined below look their builtins up here, whatever a program does to the real ones.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

CODE_FD, STEP_FD, RECORD_FD = 3, 4, 5
RECORD_CHARS = 4000
# CPU seconds from which on a state is worth keeping; a fork and its layers take about a tenth of it.
DEAR_S = 0.02


def run(namespace: dict[str, Any]) -> NoReturn:
    """Read the request on `CODE_FD`, play its role in `namespace`, write the record, and leave. Never returns.

    Roles: `program` runs steps; `code` runs them and then answers calls.

    The record, a line each: how it ended, the nonce, the earlier step that ended it or nothing, the frozen state or
    nothing, a message.
    """
    request = json.loads(_read_all())
    close(CODE_FD)
    flush = sys.stdout.flush
    nonce, role, frozen = request["nonce"], request["role"], ""
    before = dict(namespace) if request["keep"] else {}
    steps = _thawed(request, namespace, nonce)
    how, prefix, message, code = _run_steps(steps, namespace, flush)
    if how == "ok" and request["keep"] and (request["frozen"] or process_time() > DEAR_S):
        frozen = _frozen(steps, namespace, before)
    if role == "code" and how == "ok":
        how, prefix, message, code = _serve(namespace)
    try:
        flush()
    except BaseException as error:
        if how == "ok":
            how, message, code = _describe(error)
    _leave(how, nonce, prefix, message, code, frozen)


def _thawed(request: dict[str, Any], namespace: dict[str, Any], nonce: str) -> list[str]:
    """The steps still to run: the last alone where the state before it could be put back."""
    if not request["frozen"]:
        return list(request["steps"])
    try:
        freeze.thaw(b85decode(request["frozen"]), namespace)
    except BaseException as error:
        _leave("stale", nonce, "", f"{type(error).__name__}", 3)
    return list(request["steps"][-1:])


def _frozen(steps: list[str], namespace: dict[str, Any], before: dict[str, Any]) -> str:
    try:
        state = freeze.freeze(steps, namespace, before)
        return "" if state is None else b85encode(state).decode()
    except BaseException:  # a program that holds all its memory has finished all the same
        return ""


def examine(namespace: dict[str, Any]) -> int:
    """Run the tests of the request on `CODE_FD` in `namespace` and write their record; the exit code they stand for.

    Leaves for good when the line to the code is lost, past whatever the tests would catch.
    """
    request = json.loads(_read_all())
    how, message, code = _run_tests(request["steps"][0], request["entry_point"], namespace, request["nonce"])
    with suppress(BaseException):
        sys.stdout.flush()
    write(RECORD_FD, "\n".join((how, request["nonce"], "", "", message)).encode("utf-8", "replace"))
    return code


def _leave(how: str, nonce: str, prefix: str, message: str, code: int, frozen: str = "") -> NoReturn:
    write(RECORD_FD, "\n".join((how, nonce, prefix, frozen, message)).encode("utf-8", "replace"))
    _exit(code)


def _run_tests(source: str, entry_point: str, namespace: dict[str, Any], nonce: str) -> tuple[str, str, int]:
    try:
        split.run_tests(source, entry_point, namespace, lambda lost: _leave(lost.how, nonce, "", str(lost), 3))
    except BaseException as error:
        return _describe(error)
    return "ok", "", 0


def _serve(namespace: dict[str, Any]) -> tuple[str, str, str, int]:
    try:
        split.answer_calls(namespace)
    except BaseException as error:
        how, message, code = _describe(error)
        return how, "", message, code
    return "ok", "", "", 0


def _read_all() -> bytes:
    chunks = []
    while chunk := read(CODE_FD, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _run_steps(steps: list[str], namespace: dict[str, Any], flush: Any) -> tuple[str, str, str, int]:
    last = len(steps) - 1
    for number, source in enumerate(steps):
        if number == last:
            _switch_output(flush)
        name = "<main>" if last == 0 else f"<step {number + 1}>"
        try:
            exec(compile(source, name, "exec", dont_inherit=True), namespace)
        except BaseException as error:
            how, message, code = _describe(error)
            return how, "" if number == last else str(number + 1), message, code
    return "ok", "", "", 0


def _switch_output(flush: Any) -> None:
    """From here on standard output is the last step's: what earlier steps printed again goes nowhere."""
    with suppress(BaseException):
        flush()
    dup2(STEP_FD, 1)
    close(STEP_FD)


def _describe(error: BaseException) -> tuple[str, str, int]:
    """How the program ended, a line about it, and the exit code. By its true type, whatever it says of itself."""
    kind = type(error)
    try:
        text = f"{kind.__name__[:200]}: {error}"
        text = "".join([char if char.isprintable() else " " for char in text[:RECORD_CHARS]])
    except BaseException:
        text = "an exception that cannot be printed"
    if issubclass(kind, SystemExit):
        return "exited", text, _exit_code(error)
    return "memory" if issubclass(kind, MemoryError) else "error", text, 1


def _exit_code(error: Any) -> int:
    try:
        return error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        return 1
