"""ReST-EM's loop (arXiv 2312.06585, algorithm 1): sample, keep what is right, train from the base, again.

E: the policy of the round before answers a pool, many samples a problem (`method`); the right ones are kept, distinct
and at most `selection.top` a problem (the paper: 10). M: the policy is trained from the base on those alone. No trees'
pairs, no PPM. The paper trains on the samples of the round alone (`training.policy.history: this_round`), and stops
when the held-out problems are answered worse: that is for the gate to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from perseid.recipes import parts
from perseid.recipes.stage import Round, Stage, before

if TYPE_CHECKING:
    from perseid.experiment import Experiment

SAMPLES: Final = "samples"
METHOD: Final = "flat"  # where the file says none


def stages(e: Experiment, round: Round) -> Sequence[Stage]:
    if round is None:
        return [parts.problems()]
    return list(parts.first(e) if round == 0 else _round(e, round))


def _round(e: Experiment, r: int) -> Iterator[Stage]:
    yield parts.pool()
    yield parts.search(SAMPLES, before("policy"), {})
    yield parts.verified(SAMPLES)
    yield parts.policy(e, r, {})
    yield from parts.control(e, r, SAMPLES, {})
    yield parts.evaluation(e, r, {})
