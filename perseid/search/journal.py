"""An append-only file of the answers a run of searches has received, so that a killed run resumes by replay.

A record is `magic, length, crc32 of the payload, crc32 of these three` (16 bytes) and a zlib-compressed JSON payload.
It is fsynced before its answers are used. On opening, a bad record that no good one follows is the torn end of a killed
run and is cut off; one that a good record follows is corruption: `UserError` with the file and the offset.
The first record holds the run's key: a journal of another run (other weights, settings, problems, code) is discarded.
Promises nothing when two processes write one journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from perseid.errors import UserError

MAGIC: Final = b"PJ01"
FRAME: Final = struct.Struct("<4sIII")
T = TypeVar("T")


class Journal:
    """`recorded()` until it gives None, then `append`. A context manager; `key` names the run."""

    def __init__(self, path: Path | str, key: str) -> None:
        self.path = Path(path)
        self._pending: deque[tuple[int, Any]] = deque()
        self._writable(lambda: self.path.parent.mkdir(parents=True, exist_ok=True))
        data = self._writable(self.path.read_bytes) if self.path.exists() else b""
        records, end = self._records(data)
        if not records or records[0][1] != {"key": key}:
            records, end = [], 0
        self._pending.extend(records[1:])
        mode = "r+b" if self.path.exists() else "w+b"
        self._file = self._writable(lambda: open(self.path, mode))  # noqa: SIM115, closed by __exit__
        self._writable(lambda: self._file.truncate(end))
        self._file.seek(end)
        if not records:
            self.append({"key": key})

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._file.close()

    @property
    def replaying(self) -> bool:
        return bool(self._pending)

    def recorded(self, kind: str, digest: str) -> Any | None:
        """The answers to this request, if the run got them before. A record of another request is a `UserError`."""
        if not self._pending:
            return None
        offset, record = self._pending.popleft()
        if (record["kind"], record["asked"]) != (kind, digest):
            raise UserError(self.path, f"offset {offset}", f"expected the answers to another {kind}; delete the file")
        return record["answers"]

    def record(self, kind: str, digest: str, answers: Any) -> None:
        self.append({"kind": kind, "asked": digest, "answers": answers})

    def append(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False)
        payload = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        start = struct.pack("<4sII", MAGIC, len(payload), zlib.crc32(payload))
        self._writable(lambda: self._write(start + struct.pack("<I", zlib.crc32(start)) + payload))

    def _write(self, frame: bytes) -> None:
        self._file.write(frame)
        self._file.flush()
        os.fsync(self._file.fileno())

    def _records(self, data: bytes) -> tuple[list[tuple[int, Any]], int]:
        """The good records with their offsets, and where they end."""
        records: list[tuple[int, Any]] = []
        offset = 0
        while (payload := _payload_at(data, offset)) is not None:
            records.append((offset, json.loads(zlib.decompress(payload))))
            offset += FRAME.size + len(payload)
        if offset < len(data) and _good_record_after(data, offset + 1):
            raise UserError(self.path, f"offset {offset}", "expected a whole record; delete the file to start over")
        return records, offset

    def _writable(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except OSError as error:
            raise UserError(self.path, "", f"expected a journal that can be written ({error.strerror})") from error


def _payload_at(data: bytes, offset: int) -> bytes | None:
    """The payload of the record that starts here, None unless all of it is there and its checksums hold."""
    if offset + FRAME.size > len(data):
        return None
    magic, length, checksum, own = FRAME.unpack_from(data, offset)
    if magic != MAGIC or own != zlib.crc32(data[offset : offset + FRAME.size - 4]):
        return None
    payload = data[offset + FRAME.size : offset + FRAME.size + length]
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None


def _good_record_after(data: bytes, offset: int) -> bool:
    while (offset := data.find(MAGIC, offset)) != -1:
        if _payload_at(data, offset) is not None:
            return True
        offset += 1
    return False


def digest_of(parts: list[str]) -> str:
    """16 hex digits over a list of strings."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
