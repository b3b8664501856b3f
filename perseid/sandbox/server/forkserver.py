"""The warm fork server: a process with the preloaded modules imported and exercised, that forks one child a request.

It speaks with its host over one SOCK_SEQPACKET socket. A request is a one-line JSON object together with four
descriptors: the program (a memfd), its standard input, the memfd for its output, the memfd for its record. The server
itself never reads a program: only the fork does, so that no later child finds an earlier one's text in its memory.
The answer is what the kernel reported: wait status, CPU seconds, peak memory, wall seconds, and whether the server
stopped it.
"""

from __future__ import annotations

import contextlib
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

from . import child, confinement, namespaces, preload, split

# Of each program: its request, standard input, output, record.
_NUM_DESCRIPTORS = 4
_CONFINED_FD = 6
# Descriptors that must survive the arrangement of 0-6 in the child live from here on.
_HIGH_FD, _MAX_FD = 32, 4096


@dataclass(frozen=True)
class Server:
    """What every request shares. null: /dev/null, opened before the root changed. host_process: a pidfd of the host,
    which tells of its death even while a process that it forked still holds its end of the socket."""

    host: socket.socket
    host_process: int
    null: int
    main_module: types.ModuleType
    confinement: confinement.Confinement
    config: dict[str, Any]

    def watch_host(self, poller: select.poll) -> None:
        """Have `poller` wake when the host is gone."""
        poller.register(self.host, select.POLLHUP | select.POLLRDHUP)
        poller.register(self.host_process, select.POLLIN)


def main(fd: int, config: dict[str, Any]) -> NoReturn:
    """Serve requests on socket `fd` until the host hangs up."""
    host = socket.socket(fileno=fd)
    host_process = os.pidfd_open(os.getppid())
    null = os.open("/dev/null", os.O_RDWR)
    try:
        program = confinement.compile_filter(config["isolation"])
        main_module = preload.warm(config["preload"], config["prelude"])
        if config["without_namespaces"] and program is not None:
            layers = confinement.establish_without_namespaces(program)
        else:
            layers = confinement.establish(config["isolation"], program)
        server = Server(host, host_process, null, main_module, layers, config)
        _try_out(server)
    except (confinement.Unavailable, OSError) as missing:
        host.send(json.dumps({"unavailable": str(missing)}).encode())
        os._exit(1)
    gc.collect()
    gc.freeze()
    host.send(json.dumps({"ready": server.confinement.report}).encode())
    poller = select.poll()
    poller.register(host, select.POLLIN | select.POLLHUP)
    poller.register(host_process, select.POLLIN)
    while all(fd != host_process for fd, _ in poller.poll()):
        message, fds, _, _ = socket.recv_fds(host, 4096, 2 * _NUM_DESCRIPTORS)
        if not message:
            break
        answer = execute(server, json.loads(message), fds)
        for received in fds:
            os.close(received)
        host.send(json.dumps(answer).encode())
    os._exit(0)


def _try_out(server: Server) -> None:
    """Confine one child that runs nothing. Raises `confinement.Unavailable` with what the kernel refused."""
    read, write = os.pipe()
    if server.confinement.own_process is not None:
        namespaces.prepare_child(server.confinement.own_process)
    pid = os.fork()
    if pid == 0:
        try:
            confinement.confine(server.confinement, server.config)
        except OSError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    refusal = os.read(read, 1000).decode()
    os.close(read)
    os.waitpid(pid, 0)
    if refusal:
        raise confinement.Unavailable(
            f"{refusal}: this layer cannot be put in force; see 'python -m perseid.sandbox doctor'"
        )


def execute(server: Server, request: dict[str, Any], fds: list[int]) -> list[dict[str, Any]]:
    """Fork a child for each program of the request, let them run under their limits, wait for their end or end them.

    One program stands alone. Of two, the first holds generated code and the second the tests, with a socket between
    them; when the second ends, the first is dismissed.
    """
    started = time.monotonic()
    groups = [fds[first : first + _NUM_DESCRIPTORS] for first in range(0, len(fds), _NUM_DESCRIPTORS)]
    ends = [end.detach() for end in socket.socketpair()] if len(groups) == 2 else [server.null]
    children = [_fork(server, group, end) for group, end in zip(groups, ends, strict=True)]
    for end in ends if len(groups) == 2 else []:
        os.close(end)
    fates = _supervise(server, [child.pid for child in children], started + request["timeout_s"])
    return [_reaped(child, fate, started) for child, fate in zip(children, fates, strict=True)]


@dataclass(frozen=True)
class Child:
    """told: reads one byte if the child came to be confined."""

    pid: int
    told: int


def _fork(server: Server, fds: list[int], channel: int) -> Child:
    told, tell = os.pipe()
    if server.confinement.own_process is not None:
        namespaces.prepare_child(server.confinement.own_process)
    pid = os.fork()
    if pid == 0:
        _become_child(server, fds, tell, channel)
    os.close(tell)
    return Child(pid, told)


def _reaped(child: Child, fate: str, started: float) -> dict[str, Any]:
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.monotonic() - started
    confined = os.read(child.told, 1) == b"c"
    os.close(child.told)
    return {
        "wait_status": status,
        "fate": fate,
        "confined": confined,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "max_rss_bytes": usage.ru_maxrss * 1024,
    }


def _supervise(server: Server, pids: list[int], deadline: float) -> list[str]:
    """Wait until the last child ends, kill the others then, and all at `deadline`; end with a host that is gone.

    The fate of each: `ended` by itself, `stopped` at the deadline, `dismissed` because the last one was done.
    """
    pidfds = [os.pidfd_open(pid) for pid in pids]
    fates = ["running"] * len(pids)
    poller = select.poll()
    for fd in pidfds:
        poller.register(fd, select.POLLIN)
    server.watch_host(poller)
    while fates[-1] == "running":
        events = poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
        ended = [fd for fd, _ in events if fd in pidfds]
        for fd in ended:
            fates[pidfds.index(fd)] = "ended"
            poller.unregister(fd)
        if events and not ended:
            _kill(pidfds)
            os._exit(0)
        if not events:
            fates = ["stopped" if fate == "running" else fate for fate in fates]
    fates = ["dismissed" if fate == "running" else fate for fate in fates]
    _kill([fd for fd, fate in zip(pidfds, fates, strict=True) if fate != "ended"])
    for fd in pidfds:
        os.close(fd)
    return fates


def _kill(pidfds: list[int]) -> None:
    for fd in pidfds:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)


def _become_child(server: Server, fds: list[int], tell: int, channel: int) -> NoReturn:
    """Arrange descriptors 0-7, put the layers in force, say so on `tell` (which no program holds), play the role."""
    try:
        os.setsid()
        code, stdin, output, record = fds
        null = server.null
        _arrange((stdin, null, null, code, output, record, tell, channel), server.confinement.ruleset)
        if channel == null:
            os.close(split.CHANNEL_FD)
        confinement.confine(server.confinement, server.config)
        os.write(_CONFINED_FD, b"c")
        os.close(_CONFINED_FD)
    except BaseException as error:
        os.write(child.RECORD_FD, f"unconfined\n\n\n\n{error}".encode())
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
