"""Where an artifact comes from, and where a problem went: back through the manifests, and down to the rows.

An artifact is named by its key (`quickstart/round_03/policy`) or its address
(`perseid://quickstart/round_03/policy@0123456789abcdef`); without a version, the current one is meant.
"""

import difflib
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

import polars as pl

from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.queries import run_query

ADDRESS: Final = re.compile(r"(perseid://)?(?P<key>[^@]+?)/?(@(?P<version>[0-9a-f]{16}))?")


@dataclass(frozen=True)
class Ancestor:
    """One artifact in a tree of ancestors.

    `current`: its version is the key's current one. `repeated`: it stands, with its parents, further up in the tree
    (what several descendants share is unrolled once). `manifest` is None where its version is gone from the store.
    """

    key: str
    version: str
    current: bool
    manifest: Manifest | None
    parents: tuple["Ancestor", ...] = ()
    repeated: bool = False


def ancestors(store: Store, key: str, version: str | None = None) -> Ancestor:
    """The tree of ancestors of an artifact, parents sorted by key. Raises `UserError` for one that is not there."""
    key, version = locate(store, key, version)
    edges = run_query(store, "ancestors_of", {"key": key, "version": version})
    parents: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for child_key, child_version, parent_key, parent_version in edges.iter_rows():
        parents[child_key, child_version].append((parent_key, parent_version))
    return _tree(store, (key, version), parents, set())


def problems_of(store: Store, checkpoint: str, version: str | None = None) -> pl.DataFrame:
    """The problems that a checkpoint trained on, with source, round and how many rows of each."""
    key, version = locate(store, checkpoint, version)
    return run_query(store, "problems_of_checkpoint", {"checkpoint": key, "version": version})


def trajectories_of(store: Store, checkpoint: str, version: str | None = None) -> pl.DataFrame:
    """The verified trajectories that trained a policy, with tree node and problem."""
    key, version = locate(store, checkpoint, version)
    return run_query(store, "trajectories_of_checkpoint", {"checkpoint": key, "version": version})


def checkpoints_of(store: Store, problem_id: str, experiment: str | None = None) -> pl.DataFrame:
    """The checkpoints that ever trained on a problem, replaced versions included."""
    return run_query(store, "checkpoints_of_problem", {"problem_id": problem_id, "experiment": experiment})


def locate(store: Store, name: str, version: str | None = None) -> tuple[str, str]:
    """(key, version) of a key or address; a version given apart wins. Raises `UserError` with the nearest keys."""
    match = ADDRESS.fullmatch(name.strip())
    if match is None:
        raise UserError("artifact", name, "expected a key or perseid://key, and @version (16 hex digits) if need be")
    key = match["key"]
    known = store.keys()
    if key not in known:
        raise UserError("artifact", key, _not_there(store, key, known))
    version = version or match["version"] or _current(store, key)
    if version not in store.versions(key):
        raise UserError("artifact", f"{key}@{version}", f"no such version; there are {', '.join(store.versions(key))}")
    return key, version


def _tree(
    store: Store,
    name: tuple[str, str],
    parents: dict[tuple[str, str], list[tuple[str, str]]],
    seen: set[tuple[str, str]],
) -> Ancestor:
    key, version = name
    kept = version in store.versions(key)
    current = kept and _current(store, key) == version
    manifest = store.manifest(key, version) if kept else None
    if name in seen:
        return Ancestor(key, version, current, manifest, repeated=True)
    seen.add(name)
    above = tuple(_tree(store, parent, parents, seen) for parent in sorted(parents[name]))
    return Ancestor(key, version, current, manifest, above)


def _current(store: Store, key: str) -> str:
    manifest = store.current(key)
    return manifest.version if manifest else ""


def _not_there(store: Store, key: str, known: list[str]) -> str:
    if not known:
        return f"there is no artifact in {store.root} yet"
    inside = [other for other in known if other.startswith(f"{key}/")]
    near = inside[:5] or difflib.get_close_matches(key, known, n=5, cutoff=0.5) or known[:5]
    return f"no such artifact; nearest: {', '.join(near)}"
