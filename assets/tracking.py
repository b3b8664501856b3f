"""The seam to experiment tracking: what an asset tells of an attempt to make it. Filled by MLflow in `orchestration`.

Tracking is a record beside the artifacts, never their source: nothing is read back from it to compute anything, and
none of its calls raises because a record could not be written. What was missed is caught up later: attempts from what
was kept of them, all else from the store (`Account`).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Checkpoint:
    """A version of a registered model. `version` is its data version, `folder` holds its files."""

    model: str
    folder: Path
    version: str
    tags: Mapping[str, str]
    run_id: str


@dataclass(frozen=True)
class Account:
    """What tracking has to say of an experiment beyond its attempts, all of it derived from the store.

    aliases: data version by model and alias. rounds: the metrics of each round that is complete, by its key.
    """

    experiment: str
    checkpoints: Sequence[Checkpoint]
    aliases: Mapping[str, Mapping[str, str]]
    rounds: Mapping[str, Mapping[str, float]]


class Tracked(Protocol):
    """One attempt being recorded. `run_id` is "" where its run could not be made yet."""

    @property
    def run_id(self) -> str: ...

    @property
    def url(self) -> str: ...

    def tag(self, tags: Mapping[str, str]) -> None: ...

    def params(self, values: Mapping[str, str]) -> None:
        """The settings that the stage reads, by dotted name. One that is written already stays as it is."""

    def metrics(self, values: Mapping[str, float]) -> None: ...

    def curve(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        """`points` as (optimiser step, value)."""

    def picture(self, name: str, png: bytes) -> None: ...


class Tracking(Protocol):
    def attempt(self, round_key: str, asset: str, tags: Mapping[str, str]) -> AbstractContextManager[Tracked]:
        """A child run of the round's run; ends as failed when the block raises."""

    def register(self, checkpoint: Checkpoint) -> str:
        """The number of the registered version of that data version, made if there is none; "" if it cannot be now."""

    def alias(self, model: str, alias: str, version: str) -> None:
        """Let `alias` name the registered version whose data version is `version`."""

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        """Write the round's metrics to its run, and end that run."""

    def agree(self, account: Account) -> None:
        """Write what was missed, end the runs of dead attempts, and make the rest say what `account` says.

        Says so in one line where it cannot. Costs little when nothing has changed since it last agreed.
        """
