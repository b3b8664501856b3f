"""Checkpoints are folders: how their content is named."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

from perseid.errors import UserError

POINTER: Final = "base.json"  # what a checkpoint is made from; alone, it points there


def weights_hash(folder: Path) -> str:
    """Sixteen hex digits over every file's name and content; the same weights and tokenizer give the same hash.

    Raises `UserError` when the folder holds no safetensors and points to none.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.is_file())
    if not any(path.suffix == ".safetensors" or path.name == POINTER for path in files):
        raise UserError(folder, "model", "expected a checkpoint folder with a .safetensors file")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()[:16]


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex; computed once a process for a file that stays as it is."""
    stat = path.stat()
    return _sha256(path.absolute(), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _sha256(path: Path, inode: int, size: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
