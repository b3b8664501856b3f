"""Writing so that a reader sees all or nothing: hidden names, locks that die with their process, fsync, rename."""

import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perseid.errors import UserError

HIDDEN: Final = ".tmp-"
FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


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
    """Turns a full disk, and nothing else, into a `UserError`: for a block that others write in.

    Writers in Rust (polars, safetensors) report the disk in exceptions of their own.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else _code_in(str(error))
        if code not in FULL:
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


def sweep(root: Path, leaf: re.Pattern[str]) -> int:
    """Remove the hidden folders of dead processes below `root`; how many. Those of the living are locked, and stay.

    Folders whose names match `leaf` are not looked into.
    """
    swept = 0
    for path, folders, _ in os.walk(root):
        swept += sum(_remove_unlocked(Path(path, name)) for name in folders if name.startswith(HIDDEN))
        folders[:] = [name for name in folders if not name.startswith(HIDDEN) and not leaf.fullmatch(name)]
    return swept


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """A sweeper may take the folder between its making and its locking: then another is made."""
    while True:
        path = parent / f"{HIDDEN}{os.getpid()}-{secrets.token_hex(6)}"
        path.mkdir()
        descriptor = -1
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():
                return path, descriptor
        if descriptor >= 0:
            os.close(descriptor)


def _remove_unlocked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
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


def _code_in(message: str) -> int:
    return next((code for code in FULL if f"(os error {code})" in message), 0)


def _refusal(code: int | None, reason: str) -> str:
    if code in FULL:
        return f"cannot be written ({reason}); make room and run again, nothing is lost"
    return f"cannot be written ({reason}); expected a folder that this user may write to"
