"""A process of ours that answers a line with a line, and that can be lost: it dies, hangs, or takes too much.

It is a file of this folder, run by path, so nobody's main module is run again. It inherits no descriptor but its ends
of two pipes and the standard error, leads a group of its own, which is killed whole, and hears of its parent's end by
the pipe. Calls come from any thread, one at a time; after a fork the child finds a process of its own.
"""

from __future__ import annotations

import atexit
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

START_S: Final = 300.0  # to import what it needs on a busy machine
POLL_S: Final = 0.05  # how often memory is looked at, and whether it still runs
MAX_BYTES: Final = 64 << 20  # of an answer


class Lost(Exception):
    """There is no answer, and the process is gone: why, in words."""


class NotStarted(Lost):
    """It did not come so far as to say that it is ready."""


class Child:
    """Started when first asked, and again after each loss.

    script: the file it runs. first: a line it is sent at its start; it then writes one, when it is ready.
    limit_bytes: of memory, resident; 0: none.
    """

    def __init__(
        self, script: Path, first: bytes = b"", limit_bytes: int = 0, env: dict[str, str] | None = None
    ) -> None:
        self._command = [sys.executable, "-P", str(script.resolve())]
        self._first, self._limit_bytes, self._env = first, limit_bytes, env
        self.process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        _children.add(self)

    def start(self) -> bytes:
        """What it says when it is ready; b"" if it ran already. Raises `Lost`."""
        with self._lock:
            return self._started()

    def ask(self, line: bytes, limit_s: float) -> bytes:
        """The line that it answers, within `limit_s` seconds on the wall. Raises `Lost`."""
        with self._lock:
            self._started()
            try:
                return self._exchange(line, limit_s)
            except BaseException:  # what it has not been heard to say would be taken for the next answer
                self._end()
                raise

    def close(self) -> None:
        """End the process, a call under way with it, and leave nothing of it."""
        self._kill()
        with self._lock:
            self._end()

    def forget(self) -> None:
        """In a fork: the process is its parent's, and so is whoever held the lock."""
        self.process, self._lock = None, threading.Lock()

    def _started(self) -> bytes:
        if self.process is not None:
            if not self._spoke_or_ended():
                return b""
            self._end()
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self.process = process = subprocess.Popen(self._command, **pipes, env=self._env, start_new_session=True)
        try:
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            return self._exchange(self._first, START_S)
        except Lost as why:
            self._end()
            raise NotStarted(str(why)) from None
        except BaseException:
            self._end()
            raise

    def _spoke_or_ended(self) -> bool:
        """Unasked: then it is of no more use."""
        return self._spoke() or self._ended() is not None

    def _spoke(self) -> bool:
        assert self.process is not None
        assert self.process.stdout is not None
        waiting = select.poll()
        waiting.register(self.process.stdout, select.POLLIN)
        return any(event & select.POLLIN for _, event in waiting.poll(0))

    def _ended(self) -> str | None:
        """How, if it has. It is left to be waited for: until then its number is its own, and its group's."""
        assert self.process is not None
        try:
            found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return "it ended"  # and somebody else waited for it
        if found is None:
            return None
        ended_itself = found.si_code == os.CLD_EXITED
        return (
            f"it ended with status {found.si_status}" if ended_itself else f"it was ended by signal {found.si_status}"
        )

    def _exchange(self, line: bytes, limit_s: float) -> bytes:
        """Write a line (b"": none) and read one."""
        assert self.process is not None
        given, taken = self.process.stdin, self.process.stdout
        assert given is not None
        assert taken is not None
        unsent, heard = memoryview(line + b"\n" if line else b""), bytearray()
        deadline_s = time.monotonic() + limit_s
        while not heard.endswith(b"\n"):
            waiting = select.poll()
            waiting.register(taken, select.POLLIN)
            if unsent:
                waiting.register(given, select.POLLOUT)
            for descriptor, _ in waiting.poll(1000 * min(POLL_S, max(0.0, deadline_s - time.monotonic()))):
                if descriptor == given.fileno():
                    unsent = unsent[self._sent(descriptor, unsent) :]
                else:
                    heard += self._received(descriptor)
            if not heard.endswith(b"\n"):
                self._within(deadline_s, limit_s, len(heard))
        if unsent or heard.count(b"\n") > 1:
            raise Lost("it answered what it was not asked")
        return bytes(heard[:-1])

    def _sent(self, descriptor: int, line: memoryview) -> int:
        try:
            return os.write(descriptor, line)
        except BlockingIOError:
            return 0
        except OSError:
            raise Lost(self._last_word()) from None

    def _received(self, descriptor: int) -> bytes:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return b""
        if not chunk:
            raise Lost(self._last_word())
        return chunk

    def _last_word(self) -> str:
        """How it ended, once its pipe is closed."""
        deadline_s = time.monotonic() + 1.0
        while (how := self._ended()) is None and time.monotonic() < deadline_s:
            time.sleep(0.001)
        return how or "it no longer listens"

    def _within(self, deadline_s: float, limit_s: float, num_bytes: int) -> None:
        """Raises `Lost` where it has passed a limit, or ended while something of its own holds the pipe."""
        assert self.process is not None
        if (how := self._ended()) is not None and not self._spoke():
            raise Lost(how)
        if time.monotonic() > deadline_s:
            raise Lost(f"it took longer than {limit_s:g} s")
        if num_bytes > MAX_BYTES:
            raise Lost(f"its answer is longer than {MAX_BYTES >> 20} MiB")
        if self._limit_bytes and _resident_bytes(self.process.pid) > self._limit_bytes:
            raise Lost(f"it took more than {self._limit_bytes >> 20} MiB")

    def _kill(self) -> None:
        if (process := self.process) is not None:
            with suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()
        if (process := self.process) is not None:
            self.process = None
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()
            process.wait()


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0  # it has ended


_children: Final[weakref.WeakSet[Child]] = weakref.WeakSet()


def _close_all() -> None:
    for child in list(_children):
        child.close()


def _forget_all() -> None:
    for child in list(_children):
        child.forget()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
