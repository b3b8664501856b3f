"""Publishing and reading artifacts."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from perseid.artifacts.disk import content_of, filling, hidden_folder, replace_file, sweep, sync, sync_tree, writing
from perseid.artifacts.leases import lease
from perseid.artifacts.manifest import (
    KEY,
    MEND,
    NAME,
    VERSION,
    Facts,
    File,
    Manifest,
    Roles,
    damaged,
    file_of,
    git_commit,
    manifest_bytes,
    packages,
    read_manifest,
    version_of,
)
from perseid.errors import UserError

POINTER: Final = "current"
AGAIN: Final = "delete it and evolve again"
LEASES: Final = ".leases"  # below an experiment: who makes what
JOURNALS: Final = ".journal"  # beside a key's versions: what its making goes on from


class Draft:
    """An artifact in the making: a hidden folder, visible to nobody until `publish`."""

    def __init__(self, folder: Path, key: str, place: Path) -> None:
        self.folder, self.key, self.place = folder, key, place
        self.frames: dict[str, pl.DataFrame] = {}

    def table(self, name: str, df: pl.DataFrame) -> None:
        """Validate `df` as the table `name` and write it. Raises `UserError` (`tables.TableError` for its rows)."""
        from perseid import tables  # loads pandera, which readers do without

        self.frames[name] = tables.validate(name, df, f"{self.key}/{name}.parquet")
        path = self.path(f"{name}.parquet")
        with writing(path):
            path.write_bytes(tables.parquet_bytes(name, df))

    def path(self, name: str) -> Path:
        """Where to write a file, or a folder such as `model`, of one's own."""
        return self.folder / name

    def publish(self, code_version: str, inputs: Mapping[str, str], facts: Facts | None = None) -> Manifest:
        """Make the draft visible and current. Equal content is one version: what stands already is kept.

        The manifest tells of the last making: if equal bytes came from other inputs or code, they are noted anew.
        Raises `tables.TableError` when the tables contradict each other, `UserError` when the disk refuses.
        """
        from perseid import tables

        tables.relate(self.frames, self.key)
        with writing(self.place):
            manifest = self._manifest(code_version, inputs, facts or Facts())
            final = self.place / manifest.version
            if not _intact(final, manifest.files):
                self._install(manifest, final)
            elif not (kept := read_manifest(final / NAME)).same_making(code_version, inputs, manifest.roles):
                replace_file(final / NAME, manifest_bytes(manifest))
            else:
                manifest = kept
            replace_file(self.place / POINTER, f"{manifest.version}\n".encode())
        return manifest

    def _manifest(self, code_version: str, inputs: Mapping[str, str], facts: Facts) -> Manifest:
        names = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())
        files = {name: file_of(self.folder / name) for name in names}
        return Manifest(
            **facts.model_dump(),
            key=self.key,
            version=version_of(files),
            code_version=code_version,
            inputs=dict(sorted(inputs.items())),
            row_counts={name: df.height for name, df in sorted(self.frames.items())},
            files=files,
            git_commit=git_commit(),
            packages=packages(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _install(self, manifest: Manifest, final: Path) -> None:
        self.path(NAME).write_bytes(manifest_bytes(manifest))
        sync_tree(self.folder)
        try:
            self.folder.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not _intact(final, manifest.files):  # else another process published the same first
                with hidden_folder(self.place) as aside:
                    final.rename(aside / "damaged")
                    self.folder.rename(final)
        sync(self.place)


class Store:
    """The artifacts below `root`, which is made when something is published. To read changes nothing."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @contextmanager
    def draft(self, key: str) -> Iterator[Draft]:
        """A draft of `key`; if the block ends without `publish`, nothing of it remains."""
        place = self.place(key)
        sweep(place)
        with hidden_folder(place) as folder, filling(place):
            yield Draft(folder, key, place)

    def lease(self, key: str) -> AbstractContextManager[None]:
        """The right to make `key`, for one process at a time. Raises `UserError` naming who has it."""
        self.place(key)
        experiment, _, rest = key.partition("/")
        return lease(self.root / experiment / LEASES / (rest or experiment).replace("/", "."), key)

    def sweep(self, experiment: str) -> int:
        """Remove what dead processes of this host left in the folders of an experiment's artifacts; how many."""
        self.place(experiment)
        swept = 0
        for path, folders, _ in os.walk(self.root / experiment):
            swept += sweep(Path(path))
            inside = VERSION.fullmatch(os.path.basename(path)) is not None
            folders[:] = [] if inside else [name for name in folders if KEY.fullmatch(name)]
        return swept

    def current(self, key: str) -> Manifest | None:
        """The manifest of the version that counts; None if there is none, or if its folder was deleted."""
        pointer = self.place(key) / POINTER
        try:
            version = content_of(pointer).decode().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(pointer, "", f"cannot be read ({error}); {AGAIN}") from error
        if not VERSION.fullmatch(version):
            raise UserError(pointer, "", f"expected a version of 16 hex digits, found {version[:40]!r}; {AGAIN}")
        return self.manifest(key, version) if (self.place(key) / version).is_dir() else None

    def manifest(self, key: str, version: str) -> Manifest:
        """The manifest of a version. Raises `UserError` naming the file if it is damaged, or another artifact's."""
        path = self.place(key) / version / NAME
        manifest = read_manifest(path)
        if manifest.key != key:
            raise damaged(path, "key", f"expected {key}, found {manifest.key[:80]!r}")
        return manifest

    def fresh(
        self, key: str, code_version: str, inputs: Mapping[str, str], roles: Roles | None = None
    ) -> Manifest | None:
        """The current manifest if it was made by this code from these inputs and its files are all there."""
        manifest = self.current(key)
        if manifest is None or not manifest.same_making(code_version, inputs, roles):
            return None
        folder = self.place(key) / manifest.version
        return manifest if all(_size(folder / name) == file.bytes for name, file in manifest.files.items()) else None

    def restore(
        self, key: str, code_version: str, inputs: Mapping[str, str], roles: Roles | None = None
    ) -> Manifest | None:
        """Let a version that this code made from these inputs count again; None if there is none, whole to the byte.

        Of several, made where equal making need not give equal bytes, the newest. Whoever makes `key` has its lease.
        """
        found = []
        for version in self.versions(key):
            with suppress(UserError):
                found.append(self.manifest(key, version))
        for manifest in sorted(found, key=lambda manifest: manifest.created, reverse=True):
            place = self.place(key)
            if manifest.same_making(code_version, inputs, roles) and _intact(place / manifest.version, manifest.files):
                with writing(place):
                    replace_file(place / POINTER, f"{manifest.version}\n".encode())
                return manifest
        return None

    def read(self, artifact: str | Manifest, table: str) -> pl.DataFrame:
        """A table of an artifact (its current version if a key is given), its bytes verified.

        Raises `UserError` naming the file when it is missing, truncated or changed.
        """
        manifest = self._manifest(artifact)
        path = self.checked(manifest, f"{table}.parquet")
        try:
            return pl.read_parquet(path, glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(path, table, f"cannot be read as Parquet: {error}") from error

    def folder(self, artifact: str | Manifest, name: str = "model") -> Path:
        """A folder of an artifact, every file in it verified. Raises `UserError` naming the first that differs."""
        manifest = self._manifest(artifact)
        inside = [path for path in manifest.files if path.startswith(f"{name}/")]
        folder = self.place(manifest.key) / manifest.version / name
        if not inside:
            raise UserError(folder, name, f"{manifest.key} has no folder {name!r}; it holds {_held(manifest)}")
        for path in inside:
            self.checked(manifest, path)
        return folder

    def checked(self, manifest: Manifest, name: str) -> Path:
        """Where a file of an artifact lies, its bytes verified. Raises `UserError` naming it when they differ."""
        path = self.place(manifest.key) / manifest.version / name
        if name not in manifest.files:
            raise UserError(path, name.removesuffix(".parquet"), f"{manifest.key} holds {_held(manifest)} only")
        if fault := difference(path, manifest.files[name]):
            raise UserError(path, name, f"damaged: {fault}; {MEND.format(path.parent)}")
        return path

    def keys(self, experiment: str | None = None) -> list[str]:
        """The keys that have a current version, of one experiment or of all, sorted."""
        top = self.root / experiment if experiment else self.root
        found = []
        for path, folders, names in os.walk(top):
            folders[:] = [name for name in folders if KEY.fullmatch(name) and not VERSION.fullmatch(name)]
            if POINTER in names:
                found.append(str(Path(path).relative_to(self.root)))
        return sorted(found)

    def versions(self, key: str) -> list[str]:
        """All versions of `key` that were ever published, sorted by name."""
        place = self.place(key)
        names = os.listdir(place) if place.is_dir() else []
        return sorted(name for name in names if VERSION.fullmatch(name) and (place / name / NAME).is_file())

    def place(self, key: str) -> Path:
        """The folder of a key's versions. Raises `UserError` for what can be no key."""
        if not KEY.fullmatch(key) or any(VERSION.fullmatch(part) or part == POINTER for part in key.split("/")):
            raise UserError(self.root, key, "expected a key such as quickstart/round_01/policy")
        return self.root / key

    def _manifest(self, artifact: str | Manifest) -> Manifest:
        if isinstance(artifact, Manifest):
            return artifact
        manifest = self.current(artifact)
        if manifest is None:
            raise UserError(self.place(artifact), artifact, "there is no such artifact; materialise it first")
        return manifest


def _intact(folder: Path, files: Mapping[str, File]) -> bool:
    """Whether `folder` holds a manifest and exactly these contents."""
    try:
        read_manifest(folder / NAME)
        return all(file_of(folder / name) == file for name, file in files.items())
    except (OSError, UserError):
        return False


def difference(path: Path, expected: File) -> str:
    """How the bytes at `path` differ from what a manifest says of them; "" when they do not."""
    if (size := _size(path)) is None:
        return "it is missing"
    if size != expected.bytes:
        return f"it has {size} bytes instead of {expected.bytes}"
    try:
        found = file_of(path).sha256
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return (
        ""
        if found == expected.sha256
        else (f"its sha256 is not the manifest's (expected {expected.sha256[:16]}…, found {found[:16]}…)")
    )


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _held(manifest: Manifest) -> str:
    return ", ".join(sorted({name.split("/")[0].removesuffix(".parquet") for name in manifest.files})) or "nothing"
