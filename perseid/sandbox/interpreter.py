"""One process of the fast tier: started at the first use, fed a task at a time, replaced when it dies.

All that a task needs is sent in one go, with what closes the task before it, so that a task costs one switch to the
process and back.
"""

from __future__ import annotations

import functools
import math
import os
import select
import shutil
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


class _Died(Exception):
    """The process is gone, silent, or speaks otherwise than expected."""


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
        """Run `task`. None when the process did not survive it or cannot judge it."""
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
        except (_Died, OSError, UnicodeEncodeError):
            self.close()
            return None

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
                raise _Died if output is None else _Late
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
                    raise _Died from None

    def _start(self) -> None:
        if self._over:
            raise _Died
        if self._process is not None:
            return
        self._process = subprocess.Popen(
            [_program(), "subprocess"],
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            cwd="/",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._guardian.watch(self._process.pid)
        self._received.clear()
        self._used = self._reset = False
        self._heard, self._either = select.poll(), select.poll()
        self._heard.register(self._process.stdout.fileno(), select.POLLIN)
        self._either.register(self._process.stdout.fileno(), select.POLLIN)
        self._either.register(self._process.stdin.fileno(), select.POLLOUT)

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

    def end(self) -> None:
        """Kill the process for good, from any thread: tasks under way and to come have no answer."""
        self._over = True
        if (process := self._process) is not None:
            process.kill()


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


@functools.cache
def _program() -> str:
    """Path of monty's program, which the package installs beside the interpreter. Raises `FileNotFoundError`."""
    beside = Path(sysconfig.get_path("scripts")) / "monty"
    found = str(beside) if beside.is_file() else shutil.which("monty")
    if found is None:
        raise FileNotFoundError("monty: the program of the package pydantic-monty-runtime is not installed")
    return found
