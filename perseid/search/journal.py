"""An append-only file of the answers a run of searches has received, so that a killed run resumes by replay.

An entry is one tree's next answers: `[tree, kind, digest of what was asked, answers]`, a line of JSON. A record holds
the entries that arrived together: `magic, length, crc32 of the payload, crc32 of these three` (16 bytes) and a
deflated payload. One deflate stream runs through the records of a session, which halves them: an entry is like the
ones before it. A record is in the file before its answers are used, so a killed process loses nothing that a tree has
seen; it is fsynced at most a second later, which is what a machine that loses power can lose.

On opening, a bad record that no good one follows is the torn end of a killed run and is cut off; one that a good
record follows is corruption: `UserError` with the file and the offset. The first entry holds the run's key: a journal
of another run (other weights, settings, problems, code) is discarded.
Promises nothing when two processes write one journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from perseid.errors import UserError

FIRST: Final = b"PJ2+"  # a record that begins a deflate stream: the first of a session
NEXT: Final = b"PJ2 "
FRAME: Final = struct.Struct("<4sIII")
SYNC_S: Final = 1.0  # seconds between fsyncs
T = TypeVar("T")
_LINE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
Entry = tuple[int, str, int, Any]  # tree, kind, digest of what was asked, answers


class Journal:
    """`replay(tree)` at its start, then `append` what arrives. A context manager; `key` names the run."""

    def __init__(self, path: Path | str, key: str) -> None:
        self.path = Path(path)
        self._entries: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._writable(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        data = self._writable(self.path.read_bytes) if self.path.exists() else b""
        end = self._read(data, key)
        mode = "r+b" if self.path.exists() else "w+b"
        self._file = self._writable(lambda: open(self.path, mode))  # noqa: SIM115, closed by __exit__
        self._writable(lambda: self._file.truncate(end))
        self._file.seek(end)
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
        start = struct.pack("<4sII", self._magic, len(packed), zlib.crc32(packed))
        self._magic = NEXT
        self._writable(lambda: self._write(start + struct.pack("<I", zlib.crc32(start)) + packed))

    def _write(self, frame: bytes) -> None:
        self._file.write(frame)
        self._file.flush()
        now = time.monotonic()
        if now - self._synced >= SYNC_S and (self._sync is None or self._sync.done()):
            if self._sync is not None:
                self._sync.result()
            self._synced, self._sync = now, self._syncing.submit(os.fsync, self._file.fileno())

    def _read(self, data: bytes, key: str) -> int:
        """Take in the entries of the good records; where they end, 0 for another run's journal."""
        offset, inflate = 0, zlib.decompressobj(-zlib.MAX_WBITS)
        while (payload := _payload_at(data, offset)) is not None:
            if data.startswith(FIRST, offset):
                inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            lines = inflate.decompress(payload).splitlines()
            if offset == 0:
                if lines != [json.dumps(key).encode()]:
                    return 0
            else:
                for line in lines:
                    self._entries[int(line[1 : line.index(b",")])].append((offset, line))
            offset += FRAME.size + len(payload)
        if offset < len(data) and _good_record_after(data, offset + 1):
            raise UserError(self.path, f"offset {offset}", "expected a whole record; delete the file to start over")
        return offset

    def _writable(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(self.path, "", f"expected a journal that can be written ({error.strerror})") from error


class Replay:
    """The recorded answers of one tree, in order."""

    def __init__(self, path: Path, recorded: Sequence[tuple[int, bytes]]) -> None:
        self._path = path
        lines = b",".join(line for _, line in recorded)
        self._entries: list[Entry] = json.loads(f"[{lines.decode('utf-8', 'surrogatepass')}]")
        self._offsets = [offset for offset, _ in recorded]
        self._next = 0

    def next(self, kind: str, digest: int) -> Any | None:
        """The answers to this request; None when the record ends. Those of another request are a `UserError`."""
        if self._next == len(self._entries):
            return None
        _, recorded, asked, answers = self._entries[self._next]
        if (recorded, asked) != (kind, digest):
            offset = self._offsets[self._next]
            raise UserError(self._path, f"offset {offset}", f"expected the answers to another {kind}; delete the file")
        self._next += 1
        return answers

    def ends_with(self, kind: str) -> Any | None:
        """What stands in the next entry if it is of this kind; None otherwise, and then nothing is taken."""
        if self._next == len(self._entries) or self._entries[self._next][1] != kind:
            return None
        self._next += 1
        return self._entries[self._next - 1][3]


def _deflate() -> Any:
    """Of small tables: they are cold at every record, and with the usual ones a record takes a third longer."""
    return zlib.compressobj(6, zlib.DEFLATED, -13, memLevel=6)


def _payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the record that starts here, None unless all of it is there and its checksums hold."""
    if offset + FRAME.size > len(data):
        return None
    magic, length, checksum, own = FRAME.unpack_from(data, offset)
    if magic not in (FIRST, NEXT) or own != zlib.crc32(data[offset : offset + FRAME.size - 4]):
        return None
    payload = data[offset + FRAME.size : offset + FRAME.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _good_record_after(data: bytes, offset: int) -> bool:
    while (offset := data.find(FIRST[:3], offset)) != -1:
        if _payload_at(data, offset) is not None:
            return True
        offset += 1
    return False


def digest_of(parts: Sequence[str]) -> str:
    """16 hex digits over a list of strings."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
