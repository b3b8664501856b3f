"""Children of the fork server: how one is made and confined, and what the kernel says of its end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from os import _exit
from typing import Any, NoReturn

from . import child, confinement, namespaces

CONFINED_FD = 6
# Descriptors that must survive the arrangement of the low ones in the child live from here on.
_HIGH_FD, _MAX_FD = 32, 4096


@dataclass(frozen=True)
class Server:
    """What every request shares. host: the socket to the host. null: /dev/null for examiners, opened before the root
    changed. host_process: a pidfd of the host, which tells of its death even while a process that it forked still holds
    its end of the socket."""

    host: int
    host_process: int
    null: int
    main_module: types.ModuleType
    confinement: confinement.Confinement
    config: dict[str, Any]

    def watch_host(self, poller: select.poll) -> None:
        """Have `poller` wake when the host is gone."""
        poller.register(self.host, select.POLLHUP | select.POLLRDHUP)
        poller.register(self.host_process, select.POLLIN)


@dataclass(frozen=True)
class Child:
    """told: reads one byte if the child came to be confined."""

    pid: int
    pidfd: int
    told: int
    started: float


def fork(server: Server, descriptors: list[int], play: Callable[[dict[str, Any]], NoReturn]) -> Child:
    """Fork a child that holds `descriptors` as 0, 1, 2 and so on, put the layers in force in it, and have it `play`.

    The seventh descriptor (`CONFINED_FD`) is the child's to say that it is confined; it is closed before `play`.
    """
    started = time.monotonic()
    told, tell = os.pipe()
    if server.confinement.own_process is not None:
        namespaces.prepare_child(server.confinement.own_process)
    pid = os.fork()
    if pid == 0:
        _become(server, [*descriptors[:CONFINED_FD], tell, *descriptors[CONFINED_FD:]], play)
    os.close(tell)
    return Child(pid, os.pidfd_open(pid), told, started)


def _become(server: Server, descriptors: list[int], play: Callable[[dict[str, Any]], NoReturn]) -> NoReturn:
    try:
        os.setsid()
        _arrange(descriptors, server.confinement.ruleset)
        confinement.confine(server.confinement, server.config)
        os.write(CONFINED_FD, b"c")
        os.close(CONFINED_FD)
    except BaseException as error:
        os.write(child.RECORD_FD, f"unconfined\n\n\n\n{error}".encode())
        _exit(1)
    try:
        play(server.main_module.__dict__)
    finally:  # not by way of the interpreter's own end, which has hooks
        _exit(1)


def _arrange(sources: list[int], kept: int | None) -> None:
    """Make `sources` descriptors 0, 1, 2 and so on, and close every other but `kept`."""
    above = [fcntl.fcntl(source, fcntl.F_DUPFD, _HIGH_FD) for source in sources]
    for target, source in enumerate(above):
        os.dup2(source, target)
    last = _MAX_FD if kept is None else kept
    os.closerange(len(sources), last)
    os.closerange(last + 1, _MAX_FD)


def kill(ward: Child) -> None:
    """End a child that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(ward.pidfd, signal.SIGKILL)


def reap(ward: Child, fate: str) -> dict[str, Any]:
    """Wait for a child that has ended or was killed; what the kernel says of it.

    fate: `ended` by itself, `stopped` at its deadline, `dismissed` because it was needed no more.
    """
    _, status, usage = os.wait4(ward.pid, 0)
    wall_s = time.monotonic() - ward.started
    confined = os.read(ward.told, 1) == b"c"
    os.close(ward.told)
    os.close(ward.pidfd)
    return {
        "wait_status": status,
        "fate": fate,
        "confined": confined,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "max_rss_bytes": usage.ru_maxrss * 1024,
    }
