"""Checkpoints of a training under way: an attempt after a kill ends in the weights of one that was never killed.

Written by the `Trainer` (weights as safetensors; optimiser, schedule and random state as what `torch.load` reads with
`weights_only`), then sealed: the seal names the hash of every file and is written last. One without a whole seal is
half-written or damaged, and the one before it counts. They are taken where the loss was just logged, so that the curve
goes on as it was, and hold the random state with which the epoch began, since its order was drawn from it.
Promises nothing on another machine, device or number of threads: float sums differ there.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from perseid.artifacts.disk import replace_file, sync_tree
from perseid.artifacts.manifest import file_of

SEAL: Final = "seal.json"
EPOCH: Final = "epoch.safetensors"
UNREAD: Final = "training_args.bin"  # a pickle that the Trainer writes and nobody needs
KEPT: Final = 2  # checkpoints: the newest, and the one before for when the newest is damaged
SHARE: Final = 50  # writing them takes at most one part in so many of the time

log = logging.getLogger(__name__)


def newest(state: Path) -> Path | None:
    """The newest whole checkpoint in `state`, what is newer removed; None if the training must begin anew."""
    for path in _newest_first(state):
        if _whole(path):
            return path
        log.warning("%s is damaged or half-written; the training goes on from the one before, if there is one", path)
        shutil.rmtree(path, ignore_errors=True)
    return None


def seal(checkpoint: Path, epoch_began: torch.Tensor) -> None:
    """Complete a checkpoint with the random state that its epoch began with: it counts, and the oldest goes."""
    (checkpoint / UNREAD).unlink(missing_ok=True)
    save_file({"random_state": epoch_began}, checkpoint / EPOCH)
    sync_tree(checkpoint)
    files = {path.name: file_of(path).sha256 for path in sorted(checkpoint.iterdir())}
    replace_file(checkpoint / SEAL, json.dumps(files).encode())
    for path in _newest_first(checkpoint.parent)[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


def forget(state: Path) -> None:
    """Remove the checkpoints of a training that is published, or that can come to nothing."""
    shutil.rmtree(state, ignore_errors=True)


def _newest_first(state: Path) -> list[Path]:
    """By their steps: a clock may be set back."""
    return sorted(state.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)


def _whole(checkpoint: Path) -> bool:
    try:
        sealed = json.loads((checkpoint / SEAL).read_bytes())
        return bool(sealed) and all(file_of(checkpoint / name).sha256 == sha for name, sha in sealed.items())
    except (OSError, ValueError, AttributeError):
        return False


class Resuming(TrainerCallback):  # type: ignore[misc]
    """Says when a checkpoint is due, and gives the epoch that is resumed the random state it had begun with."""

    def __init__(self, every_s: float, resumed: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.every_s, self.clock = every_s, clock
        self.due, self.asked = clock() + every_s, 0.0
        self.began: torch.Tensor | None = None if resumed is None else load_file(resumed / EPOCH)["random_state"]
        self.epoch_began = torch.empty(0)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.began is not None:
            torch.set_rng_state(self.began)
            self.began = None
        self.epoch_began = torch.get_rng_state()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        between = state.global_step % args.logging_steps == 0 and state.global_step < state.max_steps
        if between and self.clock() >= self.due:
            control.should_save, self.asked = True, self.clock()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        now = self.clock()
        self.due = now + (self.every_s and max(self.every_s, SHARE * (now - self.asked)))
