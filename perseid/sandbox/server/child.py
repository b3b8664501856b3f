"""The child of one execution: runs the steps and says how they ended. Everything here shares a process with the code.

Nothing it reports is trusted for a verdict: the supervisor takes status, times and exit from the kernel, and believes
the record only about which way an execution ended that the kernel also saw end by itself.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

CODE_FD, STEP_FD, RECORD_FD = 3, 4, 5
RECORD_CHARS = 4000


def run(namespace: dict[str, Any]) -> None:
    """Read the request on `CODE_FD`, run its steps in `namespace`, write the record, and leave. Never returns."""
    request = json.loads(_read_all(CODE_FD))
    os.close(CODE_FD)
    steps, nonce = request["steps"], request["nonce"]
    del request
    record = _run_steps(steps, namespace)
    try:
        sys.stdout.flush()
    except BaseException as error:
        record = record if record["how"] != "ok" else _describe(error)
    record["nonce"] = nonce
    os.write(RECORD_FD, json.dumps(record).encode())
    os._exit(0 if record["how"] == "ok" else 1)


def _read_all(fd: int) -> bytes:
    chunks = []
    while chunk := os.read(fd, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def _run_steps(steps: list[str], namespace: dict[str, Any]) -> dict[str, str]:
    last = len(steps) - 1
    for number, source in enumerate(steps):
        if number == last:
            _switch_output()
        try:
            exec(
                compile(source, "<main>" if last == 0 else f"<step {number + 1}>", "exec", dont_inherit=True), namespace
            )
        except BaseException as error:
            if number != last:
                _switch_output()
                return _describe(error) | {"prefix": str(number + 1)}
            return _describe(error)
    return {"how": "ok"}


def _switch_output() -> None:
    """From here on standard output is the last step's: what earlier steps printed again goes nowhere."""
    try:
        sys.stdout.flush()
    except BaseException:
        pass
    os.dup2(STEP_FD, 1)
    os.close(STEP_FD)


def _describe(error: BaseException) -> dict[str, str]:
    how = "exited" if isinstance(error, SystemExit) else "memory" if isinstance(error, MemoryError) else "error"
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:
        text = "an exception that cannot be printed"
    text = "".join(char if char.isprintable() else " " for char in text[:RECORD_CHARS])
    return {"how": how, "error": text.encode("utf-8", "replace").decode()}
