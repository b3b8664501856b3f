"""Another name of a folder, for programs that take a path for a pattern or an address and cannot be told otherwise.

DuckDB expands `*`, `?` and `[` in every path; Dagster writes SQLite addresses without quoting, where `?` begins a query
and `%20` is a space: a database would land in another folder. Linux gives an open folder a name without any of them.
"""

import os
import re
from functools import cache
from pathlib import Path
from typing import Final

from perseid.errors import UserError

MEANT: Final = re.compile(r"[*?\[\]%\\]")
DESCRIPTORS: Final = Path("/proc") / "self" / "fd"


def plain(path: Path) -> Path:
    """`path` itself where no part of it means anything, else another name of it, good while this process lives.

    Absolute. The part that means something must exist. Raises `UserError` where the system has no such names.
    """
    path = path.absolute()
    parts = path.parts
    meant = [index for index, part in enumerate(parts) if MEANT.search(part)]
    if not meant:
        return path
    above = Path(*parts[: meant[-1] + 1])
    return Path(_opened(above, os.getpid()), *parts[meant[-1] + 1 :])


@cache
def _opened(folder: Path, process: int) -> Path:
    """By the process's number, so that a child may be told the name. The descriptor is meant to stay open."""
    if not DESCRIPTORS.is_dir():
        raise UserError(folder, "root", "expected a name without any of * ? [ ] % \\ on this system")
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(folder, "root", f"cannot be opened ({error.strerror})") from error
    return Path("/proc") / str(process) / "fd" / str(descriptor)
