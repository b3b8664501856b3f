"""Training as `policy`, `control` and `ppm` ask for it: by protocol, so that a test can give them a plain fake."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from assets.journals import journals_of
from models.attempt import Attempt
from perseid import experiment as settings
from perseid.artifacts.manifest import packages
from perseid.checkpoints import TinyLlama
from perseid.search.journal import digest_of

if TYPE_CHECKING:
    from assets.work import Work


class Trainer(Protocol):
    """Makes checkpoint folders. Trainings give their loss curve, the table `training`."""

    bootstrap: Callable[[pl.DataFrame, TinyLlama, tuple[str, ...], Path, Attempt], None]
    policy: Callable[[pl.DataFrame, Path, settings.SupervisedTraining, Path, Attempt], pl.DataFrame]
    ppm: Callable[[pl.DataFrame, Path, settings.PpmTraining, Path, Attempt], pl.DataFrame]


def attempt_at(work: "Work", section: str) -> Attempt:
    """`section` of the experiment file is what errors name. Other releases of packages train to other weights."""
    state = journals_of(work) / digest_of([f"{name} {release}" for name, release in sorted(packages().items())])
    return Attempt(work.settings.seed, work.key, section, state, work.steps)
