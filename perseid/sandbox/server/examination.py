"""Grading, on the server's side: a fresh child with the generated code, and an examiner with the tests.

Generated code is forked for once and ended. The examiner holds none of it, so one process serves many gradings: it
takes the next tests over a socket of its own, and is replaced after a number of them, when it has used up a second,
and whenever a grading did not end well.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from dataclasses import dataclass
from typing import Any

from . import child, children, examiner, wiring
from .children import Child, Server


@dataclass
class Examiners:
    """The examiner at hand, if any, and the server's end of its socket."""

    ward: Child | None = None
    control: int | None = None

    def start(self, server: Server) -> tuple[Child, int]:
        """The examiner at hand, or a new one."""
        if self.ward is None or self.control is None:
            ours, theirs = wiring.pair()
            self.ward, self.control = children.fork(server, [server.null] * 7 + [theirs], examiner.serve), ours
            os.close(theirs)
        return self.ward, self.control

    def drop(self, fate: str) -> dict[str, Any] | None:
        """End the examiner at hand; what the kernel says of it."""
        if self.ward is None or self.control is None:
            return None
        ward, self.ward = self.ward, None
        os.close(self.control)
        self.control = None
        if fate != "ended":
            children.kill(ward)
        return children.reap(ward, fate)


def examine(server: Server, timeout_s: float, fds: list[int], examiners: Examiners) -> list[dict[str, Any]]:
    """Run generated code (the first five descriptors) against its tests (the other five); an answer for each."""
    started = time.monotonic()
    code_end, tests_end = wiring.pair(stream=True)
    code, stdin, output, record, null = fds[:5]
    ward = children.fork(server, [stdin, null, null, code, output, record, code_end], child.run)
    os.close(code_end)
    tests, _, tests_output, tests_record, _ = fds[5:]
    _hand_over(server, examiners, [tests, tests_output, tests_record, tests_end])
    os.close(tests_end)
    return _await(server, examiners, ward, started, timeout_s)


def _hand_over(server: Server, examiners: Examiners, fds: list[int]) -> None:
    for _ in range(2):
        _, control = examiners.start(server)
        with contextlib.suppress(OSError):
            wiring.send(control, b"tests", fds)
            return
        examiners.drop("dismissed")
    raise OSError("no examiner takes the tests")


def _await(server: Server, examiners: Examiners, ward: Child, started: float, timeout_s: float) -> list[dict[str, Any]]:
    examining, control = examiners.start(server)
    poller = select.poll()
    for fd in (ward.pidfd, examining.pidfd, control):
        poller.register(fd, select.POLLIN)
    server.watch_host(poller)
    fate = "dismissed"
    while True:
        ready = [fd for fd, _ in poller.poll(max(0.0, started + timeout_s - time.monotonic()) * 1000)]
        if ward.pidfd in ready:
            fate = "ended"
            poller.unregister(ward.pidfd)
        if control in ready and (message := wiring.receive(control, 100, 0)[0]):
            answer = _finished(message.decode(), started)
            if message.endswith(b"last"):
                examiners.drop("ended")
            break
        if examining.pidfd in ready:
            answer = examiners.drop("ended") or {}
            break
        if server.host in ready or server.host_process in ready:
            children.kill(ward)
            os._exit(0)
        if not ready:
            fate = "stopped" if fate == "dismissed" else fate
            answer = examiners.drop("stopped") or {}
            break
    if fate != "ended":
        children.kill(ward)
    return [children.reap(ward, fate), answer | {"wall_s": time.monotonic() - started}]


def _finished(message: str, started: float) -> dict[str, Any]:
    """The answer for tests whose examiner lives on: its own account, for it holds no generated code."""
    code, cpu_s, max_rss_bytes, _ = message.split()
    return {
        "wait_status": int(code) << 8,
        "fate": "ended",
        "confined": True,
        "cpu_s": float(cpu_s),
        "wall_s": time.monotonic() - started,
        "max_rss_bytes": int(max_rss_bytes),
    }
