"""The seam to experiment tracking: what an asset tells of an attempt to make it. Filled by MLflow in `orchestration`.

Tracking is a record beside the artifacts, never their source: nothing is read back from it to compute anything.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class Tracked(Protocol):
    """One attempt being recorded."""

    run_id: str
    url: str

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

    def register(self, model: str, folder: Path, version: str, tags: Mapping[str, str], run_id: str) -> str:
        """The number of `model`'s registered version whose data version is `version`, made if there is none."""

    def alias(self, model: str, alias: str, version: str) -> None:
        """Let `alias` name the registered version whose data version is `version`."""

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        """Write the round's metrics to its run, and end that run."""
