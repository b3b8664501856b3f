"""One process of the fast tier: started at the first use, fed a task at a time, replaced when it dies.

All that a task needs is sent in one go, with what closes the task before it, so that a task costs one switch to the
process and back.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import resource
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perseid.sandbox import wire
from perseid.sandbox.guardian import Guardian
from perseid.sandbox.limits import Limits

# How long past a source's own limit the process may stay silent: within one builtin it does not look at its clock.
_GRACE_S: Final = 0.1
# How long it may take over what is no program's: to start, to put a state back, to write one out.
_CARE_S: Final = 5.0
# More than this beyond the allowed output is neither read nor kept: a state, or the text of an error.
_FRAME_BYTES: Final = 4 << 20
# Its clock stands still while it asks for a name, so one that asks for ever must be stopped here.
_LOOKUPS: Final = 1000
# Errors that leave a session large or in disorder: its process goes with it.
_RUINOUS: Final = (MemoryError, TimeoutError)
# A process that something else ends is replaced and asked again, for so long, with pauses that grow to a second.
_PATIENCE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.02
# A silence or a crash that the machine may be to blame for gets so many tries; then it is the program's.
_TRIES: Final = 3
# Signals by which a process ends of its own making.
_OWN_SIGNALS: Final = frozenset({
    signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP,
})  # fmt: skip
# What the process may map beyond twice the memory of a program, which it may hold twice while it writes it out.
_SPARE_BYTES: Final = 1 << 30
# What ran for longer may have left much in memory: its session is closed at once, not with the next task.
_LARGE_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Task:
    """Run `code`; the output is its alone.

    snapshot: the state to run it in, None for a fresh one. before: sources to run first, unheard.
    keep_from_s: the state after it is wanted if `code` took at least so many seconds.
    """

    snapshot: bytes | None
    before: tuple[str, ...]
    code: str
    keep_from_s: float = math.inf


@dataclass(slots=True)
class Answer:
    """How a task ended. overflowed: killed for printing too much. raised: None when it ran to its end."""

    stdout: str
    overflowed: bool
    raised: wire.Raised | None
    wall_s: float
    snapshot: bytes | None = None


class InterpreterLost(Exception):
    """The process was ended from outside, or could not be started, again and again: infrastructure, not the code."""


class _Died(Exception):
    """The process is gone, or speaks otherwise than expected."""


class _Lost(Exception):
    """The process could not be started, or something else than the program ended it."""


class _Unanswered(Exception):
    """No answer in time to what is no program's, or an end of the process by itself."""


class _Late(Exception):
    """The code that is judged passed its limit, and the process did not say so itself."""


class _Overflowed(Exception):
    """More output than allowed."""


class Interpreter:
    """A worker process. The caller serialises."""

    def __init__(self, limits: Limits, guardian: Guardian) -> None:
        self._limits = limits
        self._guardian = guardian
        self._open = wire.configure(limits)
        self._process: subprocess.Popen[bytes] | None = None
        self._over = False
        self._heard, self._either = select.poll(), select.poll()
        self._received = bytearray()
        self._used = self._reset = False

    def run(self, task: Task) -> Answer | None:
        """Run `task`. None when the process did not survive it or cannot judge it. Raises `InterpreterLost`.

        Which of the two ways a task goes is the program's doing alone: a process that was killed, or is silent because
        the machine is, is replaced and asked again; so is one that ended by itself, but not for ever.
        """
        started, pause_s, num_unanswered = time.monotonic(), _FIRST_PAUSE_S, 0
        while True:
            try:
                return self._attempt(task)
            except _Unanswered:
                num_unanswered += 1
                if num_unanswered == _TRIES:
                    return None
            except _Lost as loss:
                if self._over:
                    return None
                if time.monotonic() > started + _PATIENCE_S:
                    raise InterpreterLost(str(loss)) from loss
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 1.0)

    def _attempt(self, task: Task) -> Answer | None:
        output = _Output(self._limits.output_bytes)
        try:
            return self._run(task, output)
        except _Overflowed:
            self.close()
            return Answer(output.text(), True, None, output.age_s())
        except _Late:
            self.close()
            late = f"time limit exceeded: no answer within {self._limits.timeout_s:g}s"
            return Answer(output.text(), False, wire.Raised(TimeoutError, late), output.age_s())
        except (_Died, OSError) as end:
            code = self._exit_code()
            self.close()
            if code is None:
                return None
            if code < 0 and -code not in _OWN_SIGNALS:
                raise _Lost(f"an interpreter of the fast tier was killed by {signal.Signals(-code).name}") from end
            raise _Unanswered from end
        except (_Unanswered, UnicodeEncodeError) as end:
            self.close()
            if isinstance(end, _Unanswered):
                raise
            return None

    def _exit_code(self) -> int | None:
        """Of a process that has ended, the negative number of the signal that did it; None for one that lives."""
        if self._process is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        return self._process.returncode

    def _run(self, task: Task, output: _Output) -> Answer | None:
        ended = self._ended(task, output)
        answer = self._judged(ended, output)
        if answer is None:
            return None
        if answer.raised is not None and issubclass(answer.raised.kind, _RUINOUS):
            self.close()
            return answer
        if answer.raised is None and answer.wall_s >= task.keep_from_s:
            self._send(wire.DUMP)
            kept = self._turn(self._deadline())
            if wire.kind(kept) != wire.DUMPED:
                return None
            answer.snapshot = wire.snapshot(kept)
        if answer.wall_s > _LARGE_S:
            self._send(wire.RESET)
            self._reset = True
        return answer

    def _ended(self, task: Task, output: _Output) -> bytes:
        """Open a session and feed it; the event that ended the last feed, or the first that went wrong."""
        feeds = [wire.feed(code) for code in (*task.before, task.code)]
        opening = [self._open] if task.snapshot is None else [self._open, wire.load(task.snapshot)]
        self._start()
        closing = [wire.RESET] if self._used and not self._reset else []
        self._send(b"".join([*closing, *opening, *feeds]), len(feeds))
        deadline = self._deadline()
        for _ in range(self._used + len(opening)):
            if wire.kind(self._turn(deadline)) != wire.OK:
                raise _Died
        self._used, self._reset = True, False
        while True:
            heard = output if len(feeds) == 1 else None
            deadline = time.monotonic() + self._limits.timeout_s + _GRACE_S
            event = self._turn(deadline, heard)
            feeds = feeds[1:]
            if wire.kind(event) == wire.NAME_LOOKUP:
                event = self._undefined(deadline, feeds, heard)
            if wire.kind(event) != wire.COMPLETE:
                for _ in feeds:
                    self._turn(self._deadline(1))
                return event
            if not feeds:
                return event

    def _undefined(self, deadline: float, feeds: list[bytes], heard: _Output | None) -> bytes:
        """Say of every name asked for that there is none, then send again the `feeds` that were refused meanwhile."""
        for _ in feeds:
            self._turn(self._deadline())
        for _ in range(_LOOKUPS):
            self._send(wire.UNDEFINED)
            event = self._turn(deadline, heard)
            if wire.kind(event) != wire.NAME_LOOKUP:
                self._send(b"".join(feeds), len(feeds))
                return event
        raise _Died

    def _judged(self, ended: bytes, output: _Output) -> Answer | None:
        raised = wire.raised(ended) if wire.kind(ended) == wire.ERROR else None
        if raised is None and wire.kind(ended) != wire.COMPLETE:
            return None
        return Answer(output.text(), False, raised, wire.feed_s(ended))

    def _deadline(self, num_feeds: int = 0) -> float:
        """When what is no program's, and `num_feeds` sources run meanwhile, must be done."""
        return time.monotonic() + _CARE_S + num_feeds * self._limits.timeout_s

    def _turn(self, deadline: float, output: _Output | None = None) -> bytes:
        """The event that answers a request; what is printed before it goes to `output`, if that is wanted."""
        while True:
            event = self._event(deadline)
            if event is None:
                raise _Unanswered if output is None else _Late
            if wire.kind(event) == wire.FATAL:
                raise _Died
            if wire.kind(event) != wire.PRINT:
                return event
            if output is not None and not output.took(wire.printed(event)):
                raise _Overflowed

    def _event(self, deadline: float) -> bytes | None:
        """The next event; None when there is none by `deadline`."""
        received = self._received
        while True:
            size = int.from_bytes(received[:4], "little")
            if len(received) >= 4 + size and len(received) >= 4:
                event = bytes(received[4 : 4 + size])
                del received[: 4 + size]
                return event
            if not self._waited(self._heard, deadline):
                return None

    def _waited(self, poller: select.poll, deadline: float) -> bool:
        """Whether `poller` had news by `deadline`; what the process said is taken in."""
        assert self._process is not None
        assert self._process.stdout is not None
        left_s = deadline - time.monotonic()
        ready = poller.poll(left_s * 1000) if left_s > 0 else []
        if any(fd == self._process.stdout.fileno() for fd, _ in ready):
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            self._received += chunk
            if not chunk or len(self._received) > _FRAME_BYTES + self._limits.output_bytes:
                raise _Died
        return bool(ready)

    def _send(self, requests: bytes, num_feeds: int = 0) -> None:
        """Send all of `requests`, and hear what the process says meanwhile: it reads nothing while it cannot speak."""
        self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        rest = memoryview(requests)
        deadline = self._deadline(num_feeds)
        while rest:
            try:
                rest = rest[os.write(self._process.stdin.fileno(), rest) :]
            except BlockingIOError:
                if not self._waited(self._either, deadline):
                    raise _Unanswered from None

    def _start(self) -> None:
        if self._over:
            raise _Died
        if self._process is not None:
            return
        try:
            self._process = process = _started(self._limits)
            self._guardian.watch(process.pid)
        except OSError as error:
            self.close()
            raise _Lost(f"an interpreter of the fast tier could not be started: {error}") from error
        assert process.stdin is not None
        assert process.stdout is not None
        self._received.clear()
        self._used = self._reset = False
        self._heard, self._either = select.poll(), select.poll()
        self._heard.register(process.stdout.fileno(), select.POLLIN)
        self._either.register(process.stdout.fileno(), select.POLLIN)
        self._either.register(process.stdin.fileno(), select.POLLOUT)

    def close(self) -> None:
        """Kill the process and reap it; the next task gets another."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
        with contextlib.suppress(OSError):
            self._guardian.release(process.pid)

    def end(self) -> None:
        """Kill the process for good, from any thread: tasks under way and to come have no answer."""
        self._over = True
        if (process := self._process) is not None:
            process.kill()
            process.wait()


class _Output:
    """Standard output up to a cap."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._parts: list[str] = []
        self._started = time.monotonic()

    def took(self, text: str) -> bool:
        """Add `text`; whether the cap allows what there is now."""
        self._parts.append(text)
        self._num_bytes += len(text.encode("utf-8", "replace"))
        return self._num_bytes <= self._max_bytes

    def text(self) -> str:
        """What was printed, cut at the cap."""
        printed = "".join(self._parts)
        if self._num_bytes <= self._max_bytes:
            return printed
        return printed.encode("utf-8", "replace")[: self._max_bytes].decode("utf-8", "ignore")

    def age_s(self) -> float:
        return time.monotonic() - self._started


def _started(limits: Limits) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [program(), "subprocess"],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
        cwd="/",
    )
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    # So that one which outgrows its own account of its memory ends by itself, and not by the machine's choice.
    num_bytes = 2 * limits.memory_bytes + _SPARE_BYTES
    with contextlib.suppress(ProcessLookupError):
        resource.prlimit(process.pid, resource.RLIMIT_AS, (num_bytes, num_bytes))
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    return process


@functools.cache
def program() -> str:
    """Path of monty's program, which the package installs beside the interpreter. Raises `FileNotFoundError`."""
    beside = Path(sysconfig.get_path("scripts")) / "monty"
    found = str(beside) if beside.is_file() else shutil.which("monty")
    if found is None:
        raise FileNotFoundError("monty: the program of the package pydantic-monty-runtime is not installed")
    return found
