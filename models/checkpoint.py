"""Checkpoints are folders of safetensors: how their content is named."""

import hashlib
from pathlib import Path

from perseid.errors import UserError


def weights_hash(folder: Path) -> str:
    """Sixteen hex digits over every file's name and content; the same weights and tokenizer give the same hash.

    Raises `UserError` when the folder holds no safetensors.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.is_file())
    if not any(path.suffix == ".safetensors" for path in files):
        raise UserError(folder, "model", "expected a checkpoint folder with a .safetensors file")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()[:16]
