"""Files of problems: found by path and glob, told by their content, opened as bytes or as text.

Text is UTF-8, with or without a byte order mark, or UTF-16 with one; what gzip packed is unpacked on the way. Lines
end at LF or CR LF, and not at the other characters that Unicode calls line breaks.

Does not promise that a file stays what it is while it is read: `content_key` before and after tells.
"""

import contextlib
import glob
import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Final, NamedTuple

from perseid.errors import UserError, printable

MAX_ROW_BYTES: Final = 16 * 2**20  # a longer line is no row: JSON without line breaks, or something else altogether
CHUNK_BYTES: Final = 2**20
GLOB: Final = frozenset("*?[")
GZIP: Final = b"\x1f\x8b"
UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Identity(NamedTuple):
    """What tells within a process that a file is the one that was read before."""

    path: str
    device: int
    inode: int
    num_bytes: int
    modified_ns: int
    changed_ns: int


def found(paths: Sequence[str], root: Path) -> list[Path]:
    """The files that `paths` mean, in their order, those of a glob in order of their paths; each once.

    Raises `UserError` for a path that is no readable file, and for a glob that matches nothing.
    """
    files = {file: None for path in paths for file in _meant(path, root)}
    for file in files:
        _identity(file)
    return list(files)


def content_key(files: Sequence[Path]) -> str:
    """16 hex digits of the content of files, in order, whatever they are called and wherever they lie."""
    whole = hashlib.sha256()
    for file in files:
        whole.update(_sha256(_identity(file)))
    return whole.hexdigest()[:16]


def shown(file: Path, root: Path) -> str:
    """A file as messages call it: by its path in the project, where it lies there."""
    return printable(str(file.relative_to(root) if file.is_relative_to(root) else file))


@contextlib.contextmanager
def bytes_of(file: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked. Raises `UserError` where it cannot be read."""
    with _readable(file), open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as raw:
        if raw.peek(2)[:2] == GZIP:  # whatever it is called
            with gzip.open(raw) as unpacked:
                yield io.BufferedReader(unpacked, CHUNK_BYTES)
        else:
            yield raw


@contextlib.contextmanager
def text_of(file: Path) -> Iterator[io.TextIOWrapper]:
    """The file's text, line ends as they are. A byte that is no text stands in it as a lone surrogate.

    Raises `UserError` where it cannot be read.
    """
    with bytes_of(file) as content:
        begin = content.peek(3)[:3] if isinstance(content, io.BufferedReader) else b""
        coding = "utf-16" if begin.startswith(UTF16) else "utf-8-sig"
        errors = "strict" if coding == "utf-16" else "surrogateescape"
        yield io.TextIOWrapper(content, coding, errors, newline="")


def lines_of(file: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, without their ends, numbered from 1."""
    with text_of(file) as text:
        number = 0
        while line := text.readline(MAX_ROW_BYTES):
            number += 1
            if len(line) == MAX_ROW_BYTES and not line.endswith("\n"):
                raise UserError(
                    printable(str(file)), f"line {number}", f"expected at most {MAX_ROW_BYTES:,} characters"
                )
            if line.strip(" \t\r\n"):
                yield number, line.rstrip("\r\n")


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold it: no lone surrogate, so no byte that was none, and no NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def _meant(path: str, root: Path) -> list[Path]:
    where = Path(os.path.expanduser(path))
    where = where if where.is_absolute() else root / where
    if os.path.lexists(where) or not GLOB & set(path):
        return [where]
    # Relative ones from the root: what the root is called may look like a glob.
    start = None if where == Path(os.path.expanduser(path)) else root
    matched = (Path(one) for one in glob.iglob(os.path.expanduser(path), root_dir=start, recursive=True))
    files = sorted(file for one in matched if not (file := start / one if start else one).is_dir())
    if not files:
        raise UserError(printable(path), "", f"matches no file under {shown(root, root.parent)}; expected problems")
    return files


def _identity(file: Path) -> Identity:
    """Raises `UserError` for what is no regular file, and for what this user may not read."""
    with _readable(file):
        found = os.stat(file)
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
            raise UserError(printable(str(file)), "", f"expected a file of problems, found {what}")
        if not os.access(file, os.R_OK):
            raise UserError(printable(str(file)), "", "cannot be read (Permission denied); expected a file of problems")
    return Identity(str(file), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=4096)
def _sha256(identity: Identity) -> bytes:
    with _readable(Path(identity.path)), open(identity.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Turns what the system says of a file into a `UserError`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(printable(str(file)), "", f"cannot be unpacked ({printable(str(error))})") from None
    except UnicodeError:
        raise UserError(printable(str(file)), "", "expected text in UTF-8 or, with a byte order mark, UTF-16") from None
    except OSError as error:
        reason = error.strerror or printable(str(error))
        raise UserError(printable(str(file)), "", f"cannot be read ({reason}); expected a file of problems") from None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(printable(str(file)), "", "expected the path of a file") from None
