"""Which process owns a draft or a lease: its host, its number, and when it started, for numbers are given out again."""

import os
import re
import socket
from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

WRITTEN: Final = re.compile(r"(?P<host>[A-Za-z0-9_.]+)-(?P<process>\d+)-(?P<started>\d+)")


class Owner(BaseModel):
    """`started`: clock ticks from the host's start to the process's; 0 where the system does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    process: int
    started: int

    def __str__(self) -> str:
        return f"{self.host}-{self.process}-{self.started}"

    @property
    def here(self) -> bool:
        return self.host == _host()

    @property
    def dead(self) -> bool:
        """Known only of this host's processes: another host's are never called dead."""
        return self.here and self.started != _started(self.process)


def me() -> Owner:
    process = os.getpid()
    return Owner(host=_host(), process=process, started=_started(process) or 0)


def owner_in(text: str) -> Owner | None:
    """The owner that `text` names as `str(owner)` does."""
    match = WRITTEN.fullmatch(text)
    return Owner.model_validate(match.groupdict()) if match else None


@cache
def _host() -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", socket.gethostname()) or "localhost"


def _started(process: int) -> int | None:
    """None when there is no such process."""
    if not Path("/proc/self/stat").exists():
        return _lives(process)
    try:
        stat = Path(f"/proc/{process}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _lives(process: int) -> int | None:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
