"""An append-only file of the answers a run of searches has received, so that a killed run resumes by replay.

An entry is one tree's next answers: `[tree, kind, digest of what was asked, answers]`, a line of JSON. Those to any but
the first request of a batch have its place, from 1, after them. A record holds the entries that arrived together:
`magic, length, crc32 of the payload, crc32 of these three and of the record before` (16 bytes) and a deflated payload.
One deflate stream runs through the records of a session, which halves them: an entry is like the ones before it. A
record is in the file before its answers are used, so a killed process loses nothing that a tree has seen; it is fsynced
at most a second later, which is what a machine that loses power can lose.

A run's journals stand beside each other in a folder, each named by its run's key, which its first record repeats: a run
with other weights, settings, problems, gold or code neither reads nor cuts it.

On opening, a bad record that no whole one follows is the torn end of a killed run and is cut off. Every other damage is
a `UserError` with the file and the offset: a bad record amid good ones; one that was removed, doubled, moved or forged,
for each record's checksum covers the one before; answers that are none to what the tree asks. Against somebody who
computes the whole chain anew nothing is promised, nor when two processes write one journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, TypeVar

from perseid.errors import UserError

FIRST: Final = b"PJ3+"  # a record that begins a deflate stream: the first of a session
NEXT: Final = b"PJ3 "
FRAME: Final = struct.Struct("<4sIII")
START: Final = struct.Struct("<4sII")  # of a frame: what its own checksum covers, with that of the record before
SYNC_S: Final = 1.0  # seconds between fsyncs
T = TypeVar("T")
_LINE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
Entry = tuple[int, str, int, Any] | tuple[int, str, int, Any, int]  # tree, kind, digest, answers, place


class Journal:
    """`replay(tree)` at its start, then `append` what arrives. A context manager; `key` names the run."""

    def __init__(self, path: Path | str, key: str) -> None:
        self.path = Path(path)
        self._entries: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._chained = 0  # the checksum of the last record
        self._file = self._writable(lambda: _opened(self.path))
        try:
            end = self._read(self._writable(self._file.read), key)
            self._writable(lambda: self._file.truncate(end))
            self._file.seek(end)
        except BaseException:
            self._file.close()
            raise
        self._deflate = _deflate()
        self._magic = FIRST
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="perseid-journal")
        self._sync: Future[None] | None = None
        self._synced = time.monotonic()
        if not end:
            self._append(json.dumps(key).encode())

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._syncing.shutdown(wait=True)
        try:
            if kind is None:
                self._writable(lambda: os.fsync(self._file.fileno()))
        finally:
            with suppress(OSError):
                self._file.close()

    def replay(self, tree: int) -> Replay:
        """What the run had recorded of this tree; each call empties it."""
        return Replay(self.path, self._entries.pop(tree, []))

    def append(self, entries: Sequence[Entry]) -> None:
        """Record answers that arrived together: all of them or, if the process dies here, none."""
        self._append("\n".join(map(_LINE.encode, entries)).encode("utf-8", "surrogatepass"))

    def _append(self, payload: bytes) -> None:
        packed = self._deflate.compress(payload + b"\n") + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        start = START.pack(self._magic, len(packed), zlib.crc32(packed))
        self._magic = NEXT
        self._chained = zlib.crc32(start, self._chained)
        self._writable(lambda: self._write(start + struct.pack("<I", self._chained) + packed))

    def _write(self, frame: bytes) -> None:
        self._file.write(frame)
        self._file.flush()
        now = time.monotonic()
        if now - self._synced >= SYNC_S and (self._sync is None or self._sync.done()):
            if self._sync is not None:
                self._sync.result()
            self._synced, self._sync = now, self._syncing.submit(os.fsync, self._file.fileno())

    def _read(self, data: bytes, key: str) -> int:
        """Take in the entries of all records; where the last whole one ends."""
        offset, inflate = 0, zlib.decompressobj(-zlib.MAX_WBITS)
        while (payload := _payload_at(data, offset)) is not None:
            self._chain(data, offset)
            if data.startswith(FIRST, offset):
                inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                lines = inflate.decompress(payload).splitlines()
                if offset:
                    for line in lines:
                        self._entries[int(line[1 : line.index(b",")])].append((offset, line))
            except (zlib.error, ValueError) as error:
                raise damaged(self.path, offset, "expected a record of answers") from error
            if not offset and lines != [json.dumps(key).encode()]:
                raise damaged(self.path, offset, f"expected the journal of the run {key}")
            offset += FRAME.size + len(payload)
        if offset < len(data) and _whole_record_after(data, offset + 1):
            raise damaged(self.path, offset, "expected a whole record")
        return offset

    def _chain(self, data: bytes, offset: int) -> None:
        *_, own = FRAME.unpack_from(data, offset)
        self._chained = zlib.crc32(data[offset : offset + START.size], self._chained)
        if own != self._chained:
            raise damaged(self.path, offset, "expected the record that follows the one before it")

    def _writable(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(self.path, "", f"expected a journal that can be written ({error.strerror})") from error


class Replay:
    """The recorded answers of one tree, in order."""

    def __init__(self, path: Path, recorded: Sequence[tuple[int, bytes]]) -> None:
        self._path, self._recorded = path, recorded
        self._entries: list[Entry] = self._parsed()
        self._next = 0

    def next(self) -> tuple[str, int, Any, int] | None:
        """Kind, digest, answers and place in its batch of the next entry; None when the record ends."""
        if self._next == len(self._entries):
            return None
        entry = self._entries[self._next]
        self._next += 1
        return entry[1], entry[2], entry[3], entry[4] if len(entry) == 5 else 0

    def close(self) -> None:
        """The tree has ended: raises `UserError` if there are answers to more than it asked."""
        if self._next < len(self._entries):
            self._next += 1
            raise self.damaged("expected no answers to a tree that has ended")

    def damaged(self, expected: str) -> UserError:
        """The error of who cannot use the entry taken last."""
        return damaged(self._path, self._recorded[self._next - 1][0], expected)

    def _parsed(self) -> list[Entry]:
        lines = b",".join(line for _, line in self._recorded)
        entries = _json(b"[" + lines + b"]")
        if entries is None or list(map(_is_entry, entries)) != [True] * len(self._recorded):
            lost = next(offset for offset, line in self._recorded if not _is_entry(_json(line)))
            raise damaged(self._path, lost, "expected the answers of one tree")
        return list(map(tuple, entries))


def damaged(path: Path, offset: int, expected: str) -> UserError:
    return UserError(path, f"offset {offset}", f"damaged journal: {expected}; delete the file to start over")


def _opened(path: Path) -> BinaryIO:
    """The file, made where there is none. Never waits, as to open a pipe would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "r+b")
    os.close(descriptor)
    raise UserError(path, "", "expected a journal, a regular file; move away what stands there")


def _deflate() -> Any:
    """Of small tables: they are cold at every record, and with the usual ones a record takes a third longer."""
    return zlib.compressobj(6, zlib.DEFLATED, -13, memLevel=6)


def _payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the record that starts here, None unless all of it is there and its checksum holds."""
    if offset + FRAME.size > len(data):
        return None
    magic, length, checksum, _ = FRAME.unpack_from(data, offset)
    if magic not in (FIRST, NEXT) or not length:
        return None
    payload = data[offset + FRAME.size : offset + FRAME.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _whole_record_after(data: bytes, offset: int) -> bool:
    while (offset := data.find(FIRST[:3], offset)) != -1:
        if _payload_at(data, offset) is not None:
            return True
        offset += 1
    return False


def _json(text: bytes) -> Any | None:
    """None for what is no JSON; no entry is."""
    try:
        return json.loads(text.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None


def _is_entry(value: Any) -> bool:
    size = len(value) if isinstance(value, list) else 0
    return (size == 4 or (size == 5 and type(value[4]) is int)) and value[3] is not None


def digest_of(parts: Sequence[str]) -> str:
    """16 hex digits over a list of strings."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
