"""The warm fork server: a process with the preloaded modules imported and exercised, that forks one child a request.

It speaks with its host over one SOCK_SEQPACKET socket. A request is a one-line JSON object together with four
descriptors: the program (a memfd), its standard input, the memfd for its output, the memfd for its record. The server
itself never reads a program: only the fork does, so that no later child finds an earlier one's text in its memory.
The answer is what the kernel reported: wait status, CPU seconds, peak memory, wall seconds, and whether the server
stopped it.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import select
import signal
import socket
import time
import types
from dataclasses import dataclass
from typing import Any, NoReturn

from . import child, confinement, namespaces, preload

_NUM_DESCRIPTORS = 5
_CONFINED_FD = 6
# Descriptors that must survive the arrangement of 0-6 in the child live from here on.
_HIGH_FD, _MAX_FD = 32, 4096


@dataclass(frozen=True)
class Server:
    """What every request shares. null: /dev/null, opened before the root changed."""

    host: socket.socket
    null: int
    main_module: types.ModuleType
    confinement: confinement.Confinement
    config: dict[str, Any]


def main(fd: int, config: dict[str, Any]) -> NoReturn:
    """Serve requests on socket `fd` until the host hangs up."""
    host = socket.socket(fileno=fd)
    null = os.open("/dev/null", os.O_RDWR)
    try:
        program = confinement.compile_filter(config["isolation"])
        main_module = preload.warm(config["preload"], config["prelude"])
        if config["without_namespaces"] and program is not None:
            layers = confinement.establish_without_namespaces(program)
        else:
            layers = confinement.establish(config["isolation"], program)
    except confinement.Unavailable as missing:
        host.send(json.dumps({"unavailable": str(missing)}).encode())
        os._exit(1)
    server = Server(host, null, main_module, layers, config)
    gc.collect()
    gc.freeze()
    host.send(json.dumps({"ready": server.confinement.report}).encode())
    while True:
        message, fds, _, _ = socket.recv_fds(host, 4096, _NUM_DESCRIPTORS)
        if not message:
            os._exit(0)
        answer = execute(server, json.loads(message), fds)
        for received in fds:
            os.close(received)
        host.send(json.dumps(answer).encode())


def execute(server: Server, request: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """Fork, let the child run under its limits, wait for its end or end it."""
    started = time.monotonic()
    told, tell = os.pipe()
    if server.confinement.own_process is not None:
        namespaces.prepare_child(server.confinement.own_process)
    pid = os.fork()
    if pid == 0:
        _become_child(server, fds, tell)
    os.close(tell)
    stopped = _supervise(server.host, pid, started + request["timeout_s"])
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - started
    confined = os.read(told, 1) == b"c"
    os.close(told)
    return {
        "wait_status": status,
        "stopped": stopped,
        "confined": confined,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "max_rss_bytes": usage.ru_maxrss * 1024,
    }


def _supervise(host: socket.socket, pid: int, deadline: float) -> bool:
    """Wait until the child ends; kill it at `deadline`, and leave with it when the host hangs up. True when killed."""
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(host, select.POLLHUP | select.POLLRDHUP)
    try:
        events = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        if any(fd == pidfd for fd, _ in events):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if events:
            os._exit(0)
        return True
    finally:
        os.close(pidfd)


def _become_child(server: Server, fds: list[int], tell: int) -> NoReturn:
    """Arrange descriptors 0-5, put the layers in force, say so on `tell` (which no program will hold), run."""
    try:
        os.setsid()
        code, stdin, output, record = fds
        _arrange((stdin, server.null, server.null, code, output, record, tell), server.confinement.ruleset)
        confinement.confine(server.confinement, server.config)
        os.write(_CONFINED_FD, b"c")
        os.close(_CONFINED_FD)
    except BaseException as error:
        os.write(child.RECORD_FD, f"unconfined\n\n\n{error}".encode())
        os._exit(1)
    child.run(server.main_module.__dict__)


def _arrange(sources: tuple[int, ...], kept: int | None) -> None:
    """Make `sources` descriptors 0, 1, 2 and so on, and close every other but `kept`."""
    above = [fcntl.fcntl(source, fcntl.F_DUPFD, _HIGH_FD) for source in sources]
    for target, source in enumerate(above):
        os.dup2(source, target)
    last = _MAX_FD if kept is None else kept
    os.closerange(len(sources), last)
    os.closerange(last + 1, _MAX_FD)
