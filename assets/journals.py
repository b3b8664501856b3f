"""What a killed attempt goes on from: the journals of a search, the checkpoints of a training.

Beside an artifact's versions stands a folder of them, one for each making (a code version, and versions of the inputs,
gold among them) that was begun. Publishing removes those of what is published and no others: who changes an experiment
and changes it back goes on where they were. Those that nobody comes back to stay.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from assets.graph import roles_of
from assets.tracking import Tracking
from perseid.artifacts import Manifest, Store
from perseid.artifacts.manifest import Roles
from perseid.artifacts.store import JOURNALS
from perseid.search.journal import digest_of

if TYPE_CHECKING:
    from assets.work import Made, Work


def journals_of(work: "Work") -> Path:
    """The folder for what is made of these inputs by this code; what a maker puts there it names itself."""
    versions = {key: manifest.version for key, manifest in work.inputs.items()}
    roles = roles_of(work.plan.graph, work.plan.node)
    found = journals(work.store, work.key, work.plan.node.code_version, versions, roles)
    if found.parent.is_file():  # of an earlier release, which had one for all
        found.parent.unlink()
    return found


def forgotten(work: "Work", manifest: Manifest, made: "Made", tracking: Tracking) -> Mapping[str, str]:
    """What follows the publishing of what has journals."""
    forget(journals_of(work))
    return {}


def forget_journals(store: Store, made: Manifest) -> None:
    """What they were kept for is published: nothing goes on from them any more."""
    forget(journals(store, made.key, made.code_version, made.inputs, made.roles))


def forget(kept: Path) -> None:
    shutil.rmtree(kept, ignore_errors=True)
    with suppress(OSError):  # others are begun
        kept.parent.rmdir()


def journals(store: Store, key: str, code_version: str, inputs: Mapping[str, str], roles: Roles) -> Path:
    read = [f"{role} {name} {inputs[name]}" for role, names in sorted(roles.items()) for name in names]
    making = digest_of([code_version, *read])
    return store.place(key) / JOURNALS / making
