"""The warm fork server: a process with the preloaded modules imported and exercised, that forks one child a request.

It speaks with its host over one SOCK_SEQPACKET socket. A request is a one-line JSON object together with four
descriptors: the program (a memfd), its standard input, the memfd for its output, the memfd for its record. The server
itself never reads a program: only the fork does, so that no later child finds an earlier one's text in its memory.
The answer is what the kernel reported: wait status, CPU seconds, peak memory, wall seconds, and whether the server
stopped it.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
import types
from typing import Any, NoReturn

from . import child

READY, DEVNULL = "ready", "/dev/null"


def main(fd: int, config: dict[str, Any]) -> NoReturn:
    """Serve requests on socket `fd` until the host hangs up."""
    host = socket.socket(fileno=fd)
    main_module = warm(config)
    gc.collect()
    gc.freeze()
    host.send(json.dumps({READY: True}).encode())
    null = os.open(DEVNULL, os.O_RDWR)
    while True:
        message, fds, _, _ = socket.recv_fds(host, 4096, 4)
        if not message:
            os._exit(0)
        answer = execute(host, json.loads(message), fds, null, main_module, config)
        for received in fds:
            os.close(received)
        host.send(json.dumps(answer).encode())


def warm(config: dict[str, Any]) -> types.ModuleType:
    """Import and exercise the preloaded modules, run the prelude in a fresh `__main__`, and return that module."""
    for name in config["preload"]:
        __import__(name)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(config["prelude"], "<prelude>", "exec", dont_inherit=True), module.__dict__)
    return module


def execute(
    host: socket.socket,
    request: dict[str, Any],
    fds: list[int],
    null: int,
    module: types.ModuleType,
    config: dict[str, Any],
) -> dict[str, Any]:
    """Fork, let the child run under its limits, wait for its end or end it."""
    started = time.monotonic()
    confined_read, confined_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become_child(fds, null, confined_write, config)
            child.run(module.__dict__)
        finally:
            os._exit(1)
    os.close(confined_write)
    stopped = supervise(host, pid, started + request["timeout_s"])
    _, status, usage = os.wait4(pid, 0)
    wall_s = time.monotonic() - started
    confined = os.read(confined_read, 1) == b"c"
    os.close(confined_read)
    return {
        "wait_status": status,
        "stopped": stopped,
        "confined": confined,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": wall_s,
        "max_rss_bytes": usage.ru_maxrss * 1024,
    }


def supervise(host: socket.socket, pid: int, deadline: float) -> bool:
    """Wait until the child ends; kill it at `deadline`, and leave with it when the host hangs up. True when killed."""
    pidfd = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    poller.register(host, select.POLLHUP | select.POLLRDHUP)
    try:
        while True:
            events = poller.poll(max(0, deadline - time.monotonic()) * 1000 + 0.5)
            if any(fd == pidfd for fd, _ in events):
                return False
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            if events:
                os._exit(0)
            return True
    finally:
        os.close(pidfd)


def become_child(fds: list[int], null: int, confined: int, config: dict[str, Any]) -> None:
    """Arrange descriptors 0-5 and put the limits in force; say so on `confined`, which no untrusted code will hold."""
    code, stdin, output, record = (os.dup(fd) for fd in fds)
    confined = os.dup(confined)
    for target, source in enumerate((stdin, null, null, code, output, record)):
        os.dup2(source, target)
    confined_fd = os.dup2(confined, 6)
    os.closerange(7, 4096)
    limit = resource.setrlimit
    vsz_bytes = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit(resource.RLIMIT_AS, (vsz_bytes + config["memory_bytes"],) * 2)
    limit(resource.RLIMIT_FSIZE, (config["file_bytes"],) * 2)
    limit(resource.RLIMIT_CORE, (0, 0))
    limit(resource.RLIMIT_NOFILE, (64, 64))
    cpu_s = int(config["cpu_s"])
    limit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    os.write(confined_fd, b"c")
    os.close(confined_fd)
