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
poller, wards, rest = select.poll(), [], b""
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
        try:
            wards.append(os.pidfd_open(int(line)))
        except OSError:
            pass
for ward in wards:
    try:
        signal.pidfd_send_signal(ward, signal.SIGKILL)
    except OSError:
        pass
"""


class Guardian:
    """The watching process, from construction to `close`. Thread-safe."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-u", "-c", _WATCH],
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def watch(self, pid: int | None) -> None:
        """Have process `pid`, a child of this one, end with this one. Cheap when it is known already."""
        if pid is None or pid in self._known:
            return
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(b"%d\n" % pid)
            self._process.stdin.flush()
            self._known.add(pid)

    def close(self) -> None:
        """End the watching process; what it watched lives on, the host being there to end it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(b"end\n")
