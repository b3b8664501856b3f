"""Processes by name, so that another one can tell, later, whether the one that wrote its name down is dead.

A process id alone is used again; with the boot, the namespace and the start of its process it is not.
"""

import os
import socket
from pathlib import Path

SEPARATOR = " "


def own_name() -> str:
    """Host, boot, namespace of process ids, process id and start of this process."""
    return SEPARATOR.join((*_here(), str(os.getpid()), _start(os.getpid())))


def is_dead(name: str) -> bool:
    """Whether the process of that name is known to be gone; False where it cannot be told from here."""
    parts = name.split(SEPARATOR)
    if len(parts) != 5 or not parts[3].isdigit():
        return False
    host, boot, namespace, pid, start = parts
    own_host, own_boot, own_namespace = _here()
    if host != own_host:
        return False
    if boot != own_boot:
        return True
    return namespace == own_namespace and _start(int(pid)) != start


def _here() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux: what is written down there says nothing of a death
        return socket.gethostname(), "", str(os.getpid())


def _start(pid: int) -> str:
    """In clock ticks since the boot; "" for a process that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
