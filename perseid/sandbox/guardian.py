"""Ends the fast tier's worker processes when the host dies without being able to.

An idle worker ends with its pipe. A busy one would run on to its time limit, so a small process watches the host and
kills what the host has named to it. It holds process descriptors, which never come to mean another process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from typing import Final

# The pipe of a dying host may end before its descriptor says so: an end without a word is a death, too.
_WATCH: Final = """
import os, select, signal
poller, wards, rest = select.poll(), {}, b""
poller.register(os.pidfd_open(os.getppid()), select.POLLIN)
poller.register(0, select.POLLIN)
while any(fd == 0 for fd, _ in poller.poll()):
    told = os.read(0, 4096)
    if not told:
        break
    *lines, rest = (rest + told).split(b"\\n")
    for line in lines:
        if line == b"end":
            os._exit(0)
        pid = int(line)
        if pid < 0 and -pid in wards:
            os.close(wards.pop(-pid))
        elif pid > 0:
            try:
                wards[pid] = os.pidfd_open(pid)
            except OSError:
                pass
for ward in wards.values():
    try:
        signal.pidfd_send_signal(ward, signal.SIGKILL)
    except OSError:
        pass
"""


class Guardian:
    """The watching process, from construction to `close`, replaced when it dies. Thread-safe.

    Raises `OSError` where it cannot be started.
    """

    def __init__(self) -> None:
        self._wards: set[int] = set()
        self._lock = threading.Lock()
        self._process = _started()

    def watch(self, pid: int) -> None:
        """Have process `pid`, a child of this one, end with this one."""
        with self._lock:
            self._wards.add(pid)
            self._tell(b"%d\n" % pid)

    def release(self, pid: int) -> None:
        """Process `pid` has ended."""
        with self._lock:
            self._wards.discard(pid)
            self._tell(b"-%d\n" % pid)

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
        except BrokenPipeError:
            _end(self._process)
            self._process = _started()
            assert self._process.stdin is not None
            self._process.stdin.write(b"".join([b"%d\n" % ward for ward in self._wards]))

    def close(self) -> None:
        """End the watching process; what it watched lives on, the host being there to end it."""
        with self._lock:
            _end(self._process)


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-u", "-c", _WATCH],
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        start_new_session=True,
        cwd="/",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"end\n")
    process.stdin.close()
    process.wait()
