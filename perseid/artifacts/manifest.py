"""What is known of an artifact: what it holds, what it was made from, by which code, in which circumstances."""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from perseid.artifacts.disk import content_of
from perseid.errors import UserError

KEY: Final = re.compile(r"[a-z0-9][a-z0-9_]*(/[a-z0-9][a-z0-9_]*)*")
VERSION: Final = re.compile(r"[0-9a-f]{16}")
NAME: Final = "manifest.json"
DIRTY: Final = "-dirty"  # ends the name of a commit that files differed from
SEAL: Final = "seal"
MEND: Final = "delete {} and evolve again"
# Packages whose release may change what a stage writes.
PACKAGES: Final = (
    *("polars", "pandera", "duckdb", "pydantic-monty", "reasoning-gym", "sympy", "math-verify", "numpy"),
    *("torch", "transformers", "tokenizers", "trl", "accelerate", "vllm"),
)


Roles = Mapping[str, tuple[str, ...]]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class File(Frozen):
    sha256: str
    bytes: int = Field(ge=0)


class Facts(Frozen):
    """What the maker of an artifact knows of its making. Times in seconds; `tokens` generated or trained on.

    None of it is part of the version. A field that is added needs a default: manifests of before stay readable.
    """

    experiment_hash: str = ""
    seeds: Mapping[str, int] = {}
    roles: Roles = {}  # keys of the inputs, by role; {} before roles were recorded
    settings: Mapping[str, JsonValue] = {}  # what the maker read of the experiment, in full, by dotted path
    mlflow_run: str = ""
    wall_s: float = Field(default=0.0, ge=0.0)
    cpu_s: float = Field(default=0.0, ge=0.0)
    tokens: int = Field(default=0, ge=0)


class Manifest(Facts):
    """A published artifact. `inputs` are versions by key; `row_counts` by table; `files` by path in its folder."""

    key: str
    version: str
    code_version: str
    inputs: Mapping[str, str]
    row_counts: Mapping[str, int]
    files: Mapping[str, File]
    git_commit: str
    packages: Mapping[str, str]
    created: str  # UTC, ISO 8601; outside of what the version is a hash of

    def same_making(self, code_version: str, inputs: Mapping[str, str], roles: Roles | None = None) -> bool:
        """Whether it was made by this code of these inputs, in the same roles where both sides know them."""
        alike = not (roles and self.roles) or dict(self.roles) == dict(roles)
        return self.code_version == code_version and dict(self.inputs) == dict(inputs) and alike

    def read_as(self, role: str, key: str) -> str | None:
        """The version of `key` that was read in `role`; None if it was not. Roles that nobody recorded are any."""
        return self.inputs.get(key) if not self.roles or key in self.roles.get(role, ()) else None


def manifest_bytes(manifest: Manifest) -> bytes:
    """As it is written: with a seal, the hash of all the rest, which tells an edited manifest from a whole one."""
    written = json.loads(manifest.model_dump_json())
    return (json.dumps({**written, SEAL: seal_of(written)}, indent=1, ensure_ascii=False) + "\n").encode()


def seal_of(written: Mapping[str, Any]) -> str:
    text = json.dumps({name: value for name, value in written.items() if name != SEAL}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Raises `UserError` naming the file, and the key where one is wrong."""
    try:
        written = json.loads(content_of(path))
        seal = written.pop(SEAL, None) if isinstance(written, dict) else None
        manifest = Manifest.model_validate(written)
    except OSError as error:
        raise UserError(path, "", f"cannot be read ({error.strerror}); {MEND.format(path.parent)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(path, ".".join(map(str, first["loc"])), first["msg"]) from error
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8
        raise damaged(path, "", str(error)) from error
    if seal is not None and seal != (found := seal_of(written)):
        raise damaged(path, SEAL, f"it was edited: expected {str(seal)[:16]}…, found {found[:16]}…")
    if manifest.version != path.parent.name:
        raise damaged(
            path, "version", f"expected {path.parent.name}, its folder's name, found {manifest.version[:40]!r}"
        )
    return manifest


def damaged(path: Path, key: str, what: str) -> UserError:
    return UserError(path, key, f"damaged manifest: {what}; {MEND.format(path.parent)}")


def version_of(files: Mapping[str, File]) -> str:
    """16 hex digits: the hash of the sorted (name, sha256)."""
    lines = (f"{name} {file.sha256}\n" for name, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def file_of(path: Path) -> File:
    with path.open("rb") as stream:
        return File(sha256=hashlib.file_digest(stream, "sha256").hexdigest(), bytes=path.stat().st_size)


@cache
def git_commit() -> str:
    """Of the code that runs, `DIRTY` after it if files differ from it; "" outside a repository."""
    here = Path(__file__).parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


@cache
def packages() -> Mapping[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
