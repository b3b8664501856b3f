"""What the user can mend behind an error of a library, which chains many: a disk, rights, a database."""

import errno
import sqlite3
from collections.abc import Iterator

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
TAKEN = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)


def mendable(error: BaseException) -> str:
    """What to say of an error that the user can mend; "" for any other."""
    for cause in causes(error):
        line = next(iter(str(cause).splitlines()), "")
        if getattr(cause, "errno", None) == errno.ENOSPC or "disk is full" in line:
            return f"{line}; make room and run again, nothing is lost"
        if isinstance(cause, OSError) and cause.errno in REFUSED:
            return f"{line}; expected a place that this user may write to; mend that and run again, nothing is lost"
        if isinstance(cause, OSError) and cause.errno in TAKEN and cause.filename:
            return f"{line}; something else stands where a file or folder of ours is expected; move it away"
        if isinstance(cause, sqlite3.DatabaseError):
            return f"a database of Dagster cannot be used ({line}); artifacts are not touched by that: run again"
    return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on; the chain may be a ring."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
