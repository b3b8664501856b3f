"""What a training knows of the attempt that it is part of. Loads no torch, for whoever asks for one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[int, int], None]  # optimiser steps done, in all


@dataclass(frozen=True)
class Attempt:
    """One attempt at a training.

    artifact, section: what errors name: the key that is being made, the section of the experiment file that decides.
    state: where checkpoints of this training stand, for an attempt after a kill; nothing but the same examples,
        weights, settings and code may share it. None: a killed attempt begins anew.
    every_s: least seconds from one of these checkpoints to the next; 0: one wherever the loss is logged.
    """

    seed: int
    artifact: str
    section: str
    state: Path | None = None
    progress: Progress = lambda done, total: None
    every_s: float = 5.0
