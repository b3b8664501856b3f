"""The fast tier: `pydantic-monty`, a Rust Python interpreter made for model-written code, behind one method.

It runs thousands of fresh programs a second in worker processes that reach no file, no network and no environment,
and the whole state of a session is about a kilobyte, so a tree node keeps its state and a step runs only itself.

What it cannot run it must not judge: `FastTier.run` answers None ("ask the CPython tier") for a module or syntax that
monty lacks, for an error that may stem from the interpreter rather than from the code, and for a worker that died.
It is not CPython to the letter: `docs/sandbox.md` lists the known differences, `tests/perseid/sandbox` holds the list
to a generated corpus.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import re
import signal
import time
from types import TracebackType
from typing import Final

import pydantic_monty as monty

from perseid.sandbox.execution import Execution, Status
from perseid.sandbox.guardian import Guardian
from perseid.sandbox.limits import Limits

# Modules whose behaviour the differential test found equal. Everything else goes to the CPython tier at once.
MODULES: Final = frozenset({
    "__future__", "bisect", "collections", "copy", "dataclasses", "functools", "itertools", "json", "math", "random",
    "re", "typing",
})  # fmt: skip
_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([^\n#;]+))", re.MULTILINE)
# Words whose meaning in monty differs from CPython without an error: clocks and sleeps, the interpreter's own insides.
_WORDS = re.compile(r"\b(?:sleep|eval|exec|open|(?:hash|id|__\w+__)\s*\()|;[ \t]*(?:import|from)\b")
_MISSING_ATTRIBUTE = re.compile(r"(?:module '[\w.]+'|'(\w+)' object|type object '(\w+)') has no attribute '(\w+)'")
_MISSING_NAME = re.compile(r"name '(\w+)' is not defined")
# Errors by which monty says "not in this interpreter", or that it raises for arguments CPython would accept.
_DOUBTFUL: Final = (NotImplementedError, ImportError, SyntaxError, TypeError, OSError)
_ERROR_CHARS: Final = 2000

# monty rounds 2.675 to 2.68 at two digits; formatting is correctly rounded in both interpreters.
_PATCHES: Final = """
_perseid_round = round
def round(number, ndigits=None):
    if ndigits is None:
        return _perseid_round(number)
    if isinstance(number, float) and ndigits >= 0 and number - number == 0:
        return float(format(number, "." + str(ndigits) + "f"))
    return _perseid_round(number, ndigits)
"""


class FastTier:
    """A pool of `workers` interpreter processes. Thread-safe. Raises `ValueError` when monty cannot load `prelude`."""

    def __init__(self, limits: Limits, workers: int, prelude: str) -> None:
        self._limits = limits
        self._options = monty.ResourceLimits(
            max_feed_duration_secs=limits.timeout_s,
            max_total_sleep_secs=limits.timeout_s,
            max_memory=limits.memory_bytes,
        )
        self._policy = monty.OSPolicy(random_start={"seed": 0})
        self._prelude = prelude
        self._pool = monty.Monty(min_processes=workers, max_processes=workers)
        self._guardian: Guardian | None = None
        self._fresh = b""

    def __enter__(self) -> FastTier:
        self._pool.__enter__()
        self._guardian = Guardian()
        try:
            self._fresh = self._snapshot_of_prelude()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)
        if self._guardian is not None:
            self._guardian.close()

    def _watch(self, pid: int | None) -> None:
        if self._guardian is not None:
            self._guardian.watch(pid)

    def _checkout(self) -> monty.MontySession:
        return self._pool.checkout(limits=self._options, os_policy=self._policy, assert_message_annotations=False)

    def _snapshot_of_prelude(self) -> bytes:
        with self._checkout() as session:
            try:
                session.feed_run(f"{_PATCHES}\n{self._prelude}\nNone", print_callback=monty.CollectString())
            except monty.MontyError as error:
                raise ValueError(
                    f"prelude: expected plain Python that the fast tier runs, got {error}; "
                    "rewrite it, or construct the Sandbox with tier='cpython'"
                ) from error
            return session.dump()

    def run(self, steps: tuple[str, ...], snapshot: bytes | None, keep: bool) -> tuple[Execution, bytes | None] | None:
        """Run the last of `steps` after the others; their effect is `snapshot`, or they are run again without it.

        Returns the execution and, when `keep` and it ended `ok`, the new snapshot; None when CPython must decide.
        """
        if any(routed_to_cpython(step) for step in (steps if snapshot is None else steps[-1:])):
            return None
        output = _Output(self._limits.output_bytes)
        started = time.monotonic()
        try:
            with self._checkout() as session:
                output.worker_pid = session.worker_pid
                self._watch(session.worker_pid)
                if snapshot is not None or keep or self._prelude or "round" in steps[-1]:
                    session.load_session(self._fresh if snapshot is None else snapshot)
                for step in steps[:-1] if snapshot is None else ():
                    session.feed_run(f"{step}\nNone", print_callback=monty.CollectString(max_bytes=None))
                started = time.monotonic()
                # The closing None keeps the step's last value, of any size, from being copied into this process.
                session.feed_run(f"{steps[-1]}\nNone", print_callback=output)
                wall_s = time.monotonic() - started
                kept = session.dump() if keep else None
        except (monty.MontyError, UnicodeEncodeError) as error:
            wall_s = time.monotonic() - started
            if output.full:
                return self._overflowed(output, wall_s), None
            if isinstance(error, (monty.MontyCrashedError, UnicodeEncodeError)):
                return None
            return self._failed(error, output.text(), wall_s)
        if output.full:
            return self._overflowed(output, wall_s), None
        return _execution("ok", output.text(), None, wall_s, 0), kept

    def _overflowed(self, output: _Output, wall_s: float) -> Execution:
        message = f"printed more than {self._limits.output_bytes} bytes"
        return _execution("output", output.text(), message, wall_s, None)

    def _failed(self, error: monty.MontyError, stdout: str, wall_s: float) -> tuple[Execution, None] | None:
        raised = error.exception()
        status = self._status(raised, wall_s)
        if status is None:
            return None
        message = f"{type(raised).__name__}: {raised}"[:_ERROR_CHARS]
        return _execution(status, stdout, message, wall_s, 1 if status == "error" else None), None

    def _status(self, raised: BaseException, wall_s: float) -> Status | None:
        if isinstance(raised, MemoryError):
            return "memory"
        if isinstance(raised, TimeoutError) and "limit exceeded" in str(raised):
            return "timeout" if wall_s >= self._limits.timeout_s else None
        return None if doubtful(raised) else "error"


class _Output:
    """Standard output up to a cap. Past it the worker is killed: monty would run on, unheard, to its deadline."""

    def __init__(self, max_bytes: int) -> None:
        self.worker_pid: int | None = None
        self.full = False
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._parts: list[str] = []

    def __call__(self, stream: str, text: str) -> None:
        if stream != "stdout" or self.full:
            return
        self._parts.append(text)
        self._num_bytes += len(text.encode("utf-8", "replace"))
        if self._num_bytes > self._max_bytes and self.worker_pid is not None:
            self.full = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.worker_pid, signal.SIGKILL)

    def text(self) -> str:
        """What was printed, cut at the cap."""
        printed = "".join(self._parts)
        return printed.encode("utf-8", "replace")[: self._max_bytes].decode("utf-8", "ignore") if self.full else printed


def routed_to_cpython(step: str) -> bool:
    """Whether `step` names something that the fast tier lacks or does otherwise, seen without running it."""
    if "import" in step:
        for match in _IMPORT.finditer(step):
            names = match[1] or match[2]
            for name in names.split(","):
                if name.split()[:1] and name.split()[0].split(".")[0] not in MODULES:
                    return True
    return _WORDS.search(step) is not None


def doubtful(raised: BaseException) -> bool:
    """Whether `raised` may come from a gap in monty rather than from the code."""
    if isinstance(raised, _DOUBTFUL) or "Internal error in monty" in str(raised):
        return True
    if isinstance(raised, NameError):
        name = _MISSING_NAME.search(str(raised))
        return name is None or hasattr(builtins, name[1]) or name[1] in ("exit", "quit", "__file__", "__name__")
    if isinstance(raised, AttributeError):
        return _known_attribute(str(raised))
    return not isinstance(raised, Exception)


def _known_attribute(message: str) -> bool:
    match = _MISSING_ATTRIBUTE.search(message)
    if match is None or match[0].startswith("module"):
        return True
    owner = getattr(builtins, match[1] or match[2], None)
    return not isinstance(owner, type) or hasattr(owner, match[3])


def _execution(status: Status, stdout: str, error: str | None, wall_s: float, exit_code: int | None) -> Execution:
    return Execution(status, stdout, error, wall_s, wall_s, exit_code, 0, status == "output", "fast")
