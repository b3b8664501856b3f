"""The section `control`: an arm that trains as the policy does, but for what the experiment is about.

It begins where the policy begins and takes as many optimiser steps; its greedy answers stand beside the policy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from perseid.section import DISCRIMINATOR, Section, deciding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perseid.experiment import Experiment


class Control(Section):
    """The arm without search: the same optimiser steps on the demonstrations alone."""

    kind: Annotated[Literal["demonstrations_only"], DISCRIMINATOR] = "demonstrations_only"


def control_round(e: Experiment, r: int, reads: Sequence[str]) -> int | None:
    """The round whose control is that of round `r`: rounds alike in all that it `reads` share one."""
    if e.control is None:
        return None
    alike = deciding(e.at(r), reads)
    return next(n for n in range(1, r + 1) if deciding(e.at(n), reads) == alike)
