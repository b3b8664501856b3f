"""The section `control`: an arm that trains as the policy does, but for what the experiment is about.

It begins where the policy begins and takes as many optimiser steps; its greedy answers stand beside the policy's.

| kind | trains on | what the difference to the policy shows |
|---|---|---|
| `demonstrations_only` | the demonstrations alone | that more than longer training was at work |
| `unverified` | as many of the round's samples as were verified, right or not | that verification was, not the format |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from perseid.section import DISCRIMINATOR, Section, deciding

if TYPE_CHECKING:
    from perseid.experiment import Experiment

# What an arm that sees demonstrations alone reads of a round.
READS: Final = (
    *("control", "training.policy", "-training.policy.history", "-training.policy.verified_weight"),
    *("models.policy.lora", "engine.threads", "seed"),
)


class Control(Section):
    kind: Annotated[Literal["demonstrations_only", "unverified"], DISCRIMINATOR] = "demonstrations_only"


def control_round(e: Experiment, r: int) -> int | None:
    """The round whose control is that of round `r`, None where there is none.

    Of those that see demonstrations alone, rounds alike in all that they read share one, but where epochs say how long
    a policy trains, which then depends on its round.
    """
    if e.control is None:
        return None
    if e.control.kind == "unverified" or e.at(r).training.policy.epochs:
        return r
    alike = deciding(e.at(r), READS)
    return next(n for n in range(1, r + 1) if deciding(e.at(n), READS) == alike)
