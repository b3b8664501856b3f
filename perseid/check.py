"""Whether the store still holds what was published: every byte of every current artifact, and what points to it.

Freshness looks at manifests and sizes, so that nothing to do costs nothing; a flipped bit in a file that no stage reads
again is found here alone. What was made from other versions of its inputs is stale, not damaged, and no fault.
Does not look at versions that are not current, nor at journals, which check themselves.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.artifacts.disk import DRAFT, content_of
from perseid.artifacts.manifest import MEND, NAME, version_of
from perseid.artifacts.store import POINTER, difference
from perseid.errors import UserError


@dataclass
class Checked:
    """`faults`: one line each, naming the file, what was expected, what was found and what mends it."""

    artifacts: int = 0
    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


def check(store: Store, wanted: Sequence[str] = ()) -> Checked:
    """All of the store, or what lies below the keys that are wanted.

    Raises `UserError` for one below which there is nothing.
    """
    checked, keys = Checked(), keys_below(store, wanted)
    for key in keys:
        manifest, faults = pointed_to(store, key)
        checked.artifacts += 1
        if manifest is not None:
            checked.files += len(manifest.files)
            checked.bytes += sum(file.bytes for file in manifest.files.values())
            faults += faults_of(store, manifest)
        checked.faults += faults
    for experiment in sorted({key.split("/")[0] for key in keys}):
        checked.faults += champion_faults(store, experiment)
    return checked


def keys_below(store: Store, wanted: Sequence[str]) -> list[str]:
    keys = store.keys()
    for name in wanted:
        if not any(_is_below(key, name) for key in keys):
            known = ", ".join(sorted({key.split("/")[0] for key in keys})) or "nothing"
            raise UserError(store.root, name, f"no such artifact; expected an experiment or a key; it holds {known}")
    return [key for key in keys if not wanted or any(_is_below(key, name) for name in wanted)]


def pointed_to(store: Store, key: str) -> tuple[Manifest | None, list[str]]:
    """The current manifest, and what is wrong on the way to it."""
    try:
        manifest = store.current(key)
    except UserError as error:
        return None, [str(error)]
    if manifest is None:
        pointer = store.place(key) / POINTER
        version = content_of(pointer).decode().strip()
        return None, [f"{pointer}: expected the folder of version {version}, found none; evolve again"]
    return manifest, []


def faults_of(store: Store, manifest: Manifest) -> list[str]:
    """What differs between a manifest and its folder."""
    folder = store.place(manifest.key) / manifest.version
    mend = MEND.format(folder)
    faults = [f"{folder / name}: damaged: {fault}; {mend}" for name, fault in differences(folder, manifest)]
    faults += [f"{folder / name}: expected no such file; delete it" for name in extra(folder, manifest)]
    if (version := version_of(manifest.files)) != manifest.version:
        faults.append(f"{folder / NAME}: version: expected {version}, found {manifest.version}; {mend}")
    return faults or [f"{fault}; {mend}" for fault in table_faults(store, manifest)]


def differences(folder: Path, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name, file in manifest.files.items():
        if fault := difference(folder / name, file):
            yield name, fault


def extra(folder: Path, manifest: Manifest) -> list[str]:
    """Paths in the folder that the manifest does not know, sorted; drafts of a process that writes are none."""
    found = []
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not DRAFT.fullmatch(name)]
        links = [name for name in folders if Path(path, name).is_symlink()]
        found += [str(Path(path, name).relative_to(folder)) for name in (*names, *links)]
    return sorted(set(found) - set(manifest.files) - {NAME})


def table_faults(store: Store, manifest: Manifest) -> Iterator[str]:
    """What the tables of an artifact break: their schemas, their number of rows, what holds between them."""
    from perseid import tables

    frames: dict[str, pl.DataFrame] = {}
    for name, rows in manifest.row_counts.items():
        path = store.place(manifest.key) / manifest.version / f"{name}.parquet"
        try:
            frames[name] = tables.validate(name, store.read(manifest, name), path)
        except UserError as error:
            yield str(error)
        except KeyError:
            yield f"{path}: expected a table that there is, found {name!r}"
        else:
            if (found := frames[name].height) != rows:
                yield f"{path}: expected {rows} rows, found {found}"
    try:
        tables.relate(frames, manifest.key)
    except UserError as error:
        yield str(error)


def champion_faults(store: Store, experiment: str) -> list[str]:
    """Whether the gate's state can be read, and its champion is still there."""
    try:
        champion = gate.champion(store, experiment)
        if champion is not None:
            store.manifest(champion.key, champion.version)
    except UserError as error:
        return [str(error)]
    return []


def _is_below(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name.rstrip('/')}/")
