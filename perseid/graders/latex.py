"""Whether two texts are the same mathematics in LaTeX: math-verify, in a process of its own that can be lost.

The process is this file, run by path, and reads pairs as lines of JSON: so nobody's main module is run again, and it
ends when its parent does, whose end of the pipe closes. It has a limit of CPU seconds (how busy the machine is decides
no verdict), a wall clock ten times as long behind it, and a limit of memory. Whoever passes one is killed; the next
pair finds a new process. math-verify is told to be strict: a decimal that is near is another number, and per cent on
one side alone is refused. It takes errors within sympy for a difference.
"""

from __future__ import annotations

import atexit
import functools
import json
import logging
import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

LIMIT_CPU_S: Final = 3  # a comparison that ends takes a tenth of a second, seldom one
LIMIT_WALL_S: Final = 10.0 * LIMIT_CPU_S
LIMIT_BYTES: Final = 1024**3  # resident
START_S: Final = 300.0  # to import sympy on a busy machine
POLL_S: Final = 0.05  # how often memory is looked at
DIGITS: Final = 30  # to which two expressions must agree


class _CannotTell(Exception):
    """The comparison failed: no verdict, and none to be remembered."""


def same(answer: str, gold: str) -> bool | None:
    """None: cannot tell, for the gold is no mathematics or the comparison failed."""
    try:
        return _verdict(answer, gold)
    except _CannotTell:
        return None


@functools.lru_cache(maxsize=10_000)
def _verdict(answer: str, gold: str) -> bool:
    """Remembered, but for what could not be told: `lru_cache` keeps no exception."""
    return _comparer.ask(answer, gold)


class _Comparer:
    """The process, started at the first pair and after each loss. One pair at a time, from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)
        atexit.register(self.close)

    def ask(self, answer: str, gold: str) -> bool:
        with self._lock:
            process = self._process or self._started()
            try:
                assert process.stdin is not None
                process.stdin.write(json.dumps([answer, gold]).encode() + b"\n")
                verdict = json.loads(_line(process, LIMIT_WALL_S, LIMIT_BYTES))
            except (OSError, _CannotTell):
                self.close()
                raise _CannotTell from None
            except BaseException:
                self.close()  # what it has not been heard to say would be taken for the next answer
                raise
        if verdict is None:
            raise _CannotTell
        return bool(verdict)

    def close(self) -> None:
        """End the process and leave nothing of it."""
        if (process := self._process) is not None:
            self._process = None
            process.kill()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", str(Path(__file__).resolve())]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self._process = process = subprocess.Popen(command, **pipes)
        try:
            _line(process, START_S, LIMIT_BYTES)
        except _CannotTell:
            self.close()
            raise RuntimeError("the process that compares mathematics did not start; see what it wrote") from None
        return process

    def _forget(self) -> None:
        """In a fork: the process is its parent's, and so is whoever held the lock."""
        self._process, self._lock = None, threading.Lock()


def _line(process: subprocess.Popen[bytes], limit_s: float, limit_bytes: int) -> bytes:
    """The next line it writes. Raises `_CannotTell` when it ends or passes a limit."""
    assert process.stdout is not None
    ready, deadline_s = select.poll(), time.monotonic() + limit_s
    ready.register(process.stdout, select.POLLIN)
    while not ready.poll(1000 * POLL_S):
        if time.monotonic() > deadline_s or _resident_bytes(process.pid) > limit_bytes:
            raise _CannotTell
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise _CannotTell
    return line


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


_comparer: Final = _Comparer()


def _serve() -> None:
    """The process: a verdict a line. What its libraries print must not be read as one."""
    import math_verify  # type: ignore[import-untyped]  # noqa: F401  before the limits: it takes seconds

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is heard of by the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "w", buffering=1) as out, open(os.devnull, "w", encoding="ascii") as nowhere:
        print("ready", file=out)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        for line in sys.stdin:
            limit_s = math.ceil(time.process_time() + LIMIT_CPU_S)
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
            print(json.dumps(_compared(*json.loads(line))), file=out)


def _compared(answer: str, gold: str) -> bool | None:
    from math_verify import verify

    try:
        right = _expressions(gold)
    except Exception:
        return None
    try:
        found = _expressions(answer)
    except MemoryError:
        return None
    except Exception:
        return False  # any text may make the grammar raise: no mathematics, so not the right answer
    if not right:
        return None
    if not found or ("%" in answer) != ("%" in gold):
        return False
    try:
        return bool(
            verify(
                right, found, float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None, raise_on_error=True
            )
        )
    except Exception:
        return None


def _expressions(text: str) -> list[Any]:
    """What math-verify reads in one formula, with or without its dollars; nothing in a text with several."""
    from math_verify import LatexExtractionConfig, parse

    inner = text.removeprefix("$").removesuffix("$") if text.startswith("$") and text.endswith("$") else text
    if not inner.strip() or "$" in inner.replace("\\$", ""):
        return []
    options: dict[str, Any] = {"fallback_mode": "no_fallback", "parsing_timeout": None, "raise_on_error": True}
    return list(parse(f"${inner}$", [LatexExtractionConfig()], **options))


if __name__ == "__main__":
    _serve()
