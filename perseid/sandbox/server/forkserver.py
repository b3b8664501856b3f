"""The warm fork server: a process with the preloaded modules imported and exercised, that forks one child a request.

It speaks with its host over one SOCK_SEQPACKET socket. A request is a one-line JSON object together with five
descriptors: the program (a memfd), its standard input, the memfd for its output, the memfd for its record, and
/dev/null, opened for it alone: flags that it sets there are nobody else's. The server itself never reads a program:
only the fork does, so that no later child finds an earlier one's text in its memory. The answer is what the kernel
reported: wait status, CPU seconds, peak memory, wall seconds, and whether the server stopped it.
"""

from __future__ import annotations

import base64
import gc
import json
import os
import select
import time
import types
from typing import Any, NoReturn

from . import child, children, confinement, examination, kernel, largepages, namespaces, preload, readable, wiring
from .children import Server

# Of each program: its request, standard input, output, record, nothing.
_NUM_DESCRIPTORS = 5
_MESSAGE_BYTES = 4096


def main(host: int, library: int, config: dict[str, Any]) -> NoReturn:
    """Serve requests on socket `host` until the host hangs up. library: descriptor of the standard library's block."""
    host_process = os.pidfd_open(os.getppid())
    null = os.open("/dev/null", os.O_RDWR)
    try:
        server = Server(host, host_process, null, *_prepared(library, config), config)
        _try_out(server)
    except (confinement.Unavailable, OSError, ImportError) as missing:
        wiring.send(host, json.dumps({"unavailable": str(missing)}).encode(), [])
        os._exit(1)
    gc.freeze()
    wiring.send(host, json.dumps({"ready": server.confinement.report}).encode(), [])
    examiners = examination.Examiners()
    while True:
        _serve(server, examiners)


def _prepared(library: int, config: dict[str, Any]) -> tuple[types.ModuleType, confinement.Confinement]:
    """The warm `__main__` that programs run in, and the layers around them."""
    compiled = {name: kernel.Filter(base64.b64decode(text)) for name, text in config["filters"].items()}
    filters = confinement.Filters(**compiled) if compiled else None
    main_module, packages = preload.warm(config["preload"], config["prelude"], library, config["library_folder"])
    os.close(library)
    # Before anything is shared with another process: a collection writes to every page.
    gc.collect()
    gc.freeze()
    kernel.give_back()
    largepages.gather()
    files = readable.files(packages)
    if config["without_namespaces"] and filters is not None:
        return main_module, confinement.establish_without_namespaces(filters, files)
    return main_module, confinement.establish(config["isolation"], filters, files)


def _serve(server: Server, examiners: examination.Examiners) -> None:
    """Answer one request. In functions of their own, so that no child finds a request in this process's frames."""
    timeout_s, fds = _asked(server)
    answer = execute(server, timeout_s, fds, examiners)
    for received in fds:
        os.close(received)
    wiring.send(server.host, json.dumps(answer).encode(), [])


def _asked(server: Server) -> tuple[float, list[int]]:
    """Wait for a request: its seconds and descriptors. Ends with a host that is gone."""
    poller = select.poll()
    poller.register(server.host, select.POLLIN | select.POLLHUP)
    poller.register(server.host_process, select.POLLIN)
    if any(fd == server.host_process for fd, _ in poller.poll()):
        os._exit(0)
    message, fds = wiring.receive(server.host, _MESSAGE_BYTES, 2 * _NUM_DESCRIPTORS)
    if not message:
        os._exit(0)
    return json.loads(message)["timeout_s"], fds


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


def execute(server: Server, timeout_s: float, fds: list[int], examiners: examination.Examiners) -> list[dict[str, Any]]:
    """Run the program behind `fds`, or generated code and its tests, under their limits; what the kernel says of it."""
    if len(fds) > _NUM_DESCRIPTORS:
        return examination.examine(server, timeout_s, fds, examiners)
    code, stdin, output, record, null = fds
    ward = children.fork(server, [stdin, null, null, code, output, record], child.run)
    return [children.reap(ward, _supervise(server, ward, timeout_s))]


def _supervise(server: Server, ward: children.Child, timeout_s: float) -> str:
    """Wait until the child ends, kill it at its deadline, and end with a host that is gone. Its fate."""
    poller = select.poll()
    poller.register(ward.pidfd, select.POLLIN)
    server.watch_host(poller)
    events = poller.poll(max(0.0, ward.started + timeout_s - time.monotonic()) * 1000)
    if any(fd == ward.pidfd for fd, _ in events):
        return "ended"
    children.kill(ward)
    if events:
        os._exit(0)
    return "stopped"
