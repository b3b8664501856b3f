"""Training as `policy`, `control` and `ppm` ask for it: by protocol, so that a test can give them a plain fake."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from assets.journals import journals_of
from models.attempt import Attempt
from models.examples import Example, Pair, Trained
from perseid import experiment as settings
from perseid.artifacts.manifest import packages
from perseid.checkpoints import Lora, Pretrained, TinyLlama
from perseid.search.journal import digest_of

if TYPE_CHECKING:
    from assets.work import Work


class Trainer(Protocol):
    """Makes checkpoint folders."""

    bootstrap: Callable[[Sequence[Example], TinyLlama, tuple[str, ...], Path, Attempt], None]
    point: Callable[[Pretrained, Path, Attempt], object]
    policy: Callable[[Sequence[Example], Path, settings.SupervisedTraining, Lora | None, Path, Attempt], Trained]
    ppm: Callable[[Sequence[Pair], Path, settings.PpmTraining, Lora | None, Path, Attempt], Trained]


def left_out_of(trained: Trained) -> dict[str, float]:
    """How many examples a training left out, as a metric; nothing where it left out none."""
    return {"left out": len(trained.left_out)} if trained.left_out else {}


def left_out(trained: Trained, what: str) -> dict[str, str]:
    """What is noted of an artifact whose training left examples out; nothing where it left out none."""
    number = len(trained.left_out)
    return {"left out": f"{number} {what} were longer than the context, and none is cut."} if number else {}


def attempt_at(work: "Work", section: str) -> Attempt:
    """`section` of the experiment file is what errors name. Other releases of packages train to other weights."""
    state = journals_of(work) / digest_of([f"{name} {release}" for name, release in sorted(packages().items())])
    return Attempt(work.settings.seed, work.key, section, state, work.steps)
