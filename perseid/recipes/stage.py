"""A stage of a round as data: what it does, which artifacts it is given in which role, what it reads of the file.

A maker asks for its inputs by role (`policy`, `trees`), never by the name of a stage: a recipe may call its stages what
it likes and put one in another's place. `Refs` says of which rounds an input is, seen from the round of the stage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from perseid.experiment import Experiment

Round = int | None  # None: before all rounds
Phase = Literal["", "acquire", "refine", "update", "evaluate"]


class Refs(NamedTuple):
    """Artifacts of one stage. One of `MANY` gives those that there are, the others exactly one."""

    of: Literal["once", "round", "before", "here", "so_far", "earlier"]
    stage: str
    number: int = 0

    @property
    def many(self) -> bool:
        return self.of in ("so_far", "earlier")

    def rounds(self, r: Round) -> Iterable[Round]:
        """The rounds in which the stage is looked for, seen from round `r`."""
        if self.of == "once":
            return (None,)
        if self.of == "round":
            return (self.number,)
        assert r is not None, f"{self.of}({self.stage!r}): it stands in no round"
        return {"before": range(r - 1, r), "here": range(r, r + 1), "so_far": range(r + 1), "earlier": range(r)}[
            self.of
        ]


def once(stage: str) -> Refs:
    """A stage before all rounds."""
    return Refs("once", stage)


def base(stage: str) -> Refs:
    """A stage of round 0."""
    return of_round(0, stage)


def of_round(number: int, stage: str) -> Refs:
    """A stage of the round that is named."""
    return Refs("round", stage, number)


def before(stage: str) -> Refs:
    """A stage of the round before."""
    return Refs("before", stage)


def here(stage: str) -> Refs:
    """A stage of the same round, which stands before the one that reads it."""
    return Refs("here", stage)


def so_far(stage: str) -> Refs:
    """A stage of all rounds that have it, up to and with this one."""
    return Refs("so_far", stage)


def earlier(stage: str) -> Refs:
    """A stage of all rounds before this one that have it."""
    return Refs("earlier", stage)


@dataclass(frozen=True)
class Stage:
    """`name` is the last part of the asset's key, `does` the maker: a module of `assets`.

    inputs: by role, in the order in which they are shown.
    reads: dotted paths into `experiment.at(round)`; "-" stands before a field of such a section that is left alone.
    uses: names in `assets.keys`, of what is read beside settings and inputs.
    phase: of the loop of self-evolution (arXiv 2404.14387, section 3), for the reader; it decides nothing.
    sharded: made in parts, as many as the experiment says.
    """

    name: str
    does: str
    inputs: Mapping[str, Refs]
    reads: tuple[str, ...]
    uses: tuple[str, ...] = ()
    phase: Phase = ""
    sharded: bool = False


class Recipe(Protocol):
    def stages(self, e: Experiment, round: Round) -> Sequence[Stage]:
        """The stages of a round, inputs before what reads them; of None, those before all rounds."""
        ...
