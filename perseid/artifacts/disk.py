"""Writing so that a reader sees all or nothing: hidden names that say whose they are, fsync, rename.

Reading what may have been put there by others: of a regular file alone.
"""

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from perseid.artifacts.owners import me, owner_in
from perseid.errors import UserError

HIDDEN: Final = ".tmp-"
DRAFT: Final = re.compile(rf"{re.escape(HIDDEN)}(?P<owner>.+)-[0-9a-f]{{12}}")
FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED: Final = {errno.EROFS, errno.EACCES, errno.EPERM}


def content_of(path: Path) -> bytes:
    """Of a regular file alone: a pipe would be waited for, and a device may have no end. Raises `OSError`."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read()


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """A new folder that only `sweep` can see; what is left of it at the end is removed."""
    with writing(parent):
        make_folder(parent)
        path, lock = _locked_folder(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        unlock(lock)


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, durably."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def replace_file(path: Path, content: bytes) -> None:
    """Replace `path` atomically and durably. Raises `UserError` when it cannot be written."""
    with writing(path), hidden_folder(path.parent) as folder:
        new = folder / path.name
        new.write_bytes(content)
        sync(new)
        new.replace(path)
        sync(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into a `UserError` naming the file."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise UserError(where, "", _refusal(error.errno, error.strerror or str(error))) from error


@contextmanager
def filling(path: Path) -> Iterator[None]:
    """Turns a disk that is full or may not be written, and nothing else, into a `UserError`: for a block that others
    write in. Writers in Rust (polars, safetensors) report the disk in exceptions of their own.
    """
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        if error.errno not in FULL and not (error.errno in CLOSED and _is_below(error.filename, path)):
            raise
        raise UserError(error.filename or path, "", _refusal(error.errno, error.strerror or str(error))) from error
    except Exception as error:
        if not (code := _code_in(str(error))):
            raise
        raise UserError(path, "", _refusal(code, os.strerror(code))) from error


def unlock(descriptor: int) -> None:
    """Let go of a lock, even where a process forked meanwhile still holds the descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    for path, _, names in os.walk(folder):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))


def sweep(folder: Path) -> int:
    """Remove the hidden folders in `folder` that dead processes of this host left; how many.

    What another host's process made stays, and so does what is called otherwise: it is not ours.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return sum(_removed(folder / name) for name in names if _is_left(name))


def _is_left(name: str) -> bool:
    match = DRAFT.fullmatch(name)
    owner = owner_in(match["owner"]) if match else None
    return owner is not None and owner.dead


def _locked_folder(parent: Path) -> tuple[Path, int]:
    path = parent / f"{HIDDEN}{me()}-{secrets.token_hex(6)}"
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return path, descriptor


def _removed(path: Path) -> bool:
    """Unless it is locked: hosts of one name may not see each other's processes."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is_below(name: object, folder: Path) -> bool:
    return isinstance(name, str | Path) and Path(name).is_relative_to(folder)


def _code_in(message: str) -> int:
    return next((code for code in FULL | CLOSED if f"(os error {code})" in message), 0)


def _refusal(code: int | None, reason: str) -> str:
    if code in FULL:
        return f"cannot be written ({reason}); make room and run again, nothing is lost"
    return f"cannot be written ({reason}); expected a folder that this user may write to"
