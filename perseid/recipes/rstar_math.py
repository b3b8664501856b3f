"""rStar-Math's loop (arXiv 2501.04519, section 3.4): search, verify, train policy and process preference model, again.

Round 0 makes the base and says what it can do. A later round searches a pool with the policy of the round before (and,
where its settings ask for it, guided by the PPM of that round), keeps what is proven right, makes preference pairs of
the trees, trains the policy from the base and the PPM from the policy, and evaluates. A source's demonstrations train
beside what was verified.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from perseid.recipes import parts
from perseid.recipes.stage import Round, Stage, before, here

if TYPE_CHECKING:
    from perseid.experiment import Experiment

TREES: Final = "trajectories"


def stages(e: Experiment, round: Round) -> Sequence[Stage]:
    if round is None:
        return [parts.problems()]
    return list(parts.first(e) if round == 0 else _round(e, round))


def _round(e: Experiment, r: int) -> Iterator[Stage]:
    now = e.at(r)
    guide = {"guide": before("ppm")} if now.method.ppm and r > 1 else {}
    yield parts.pool()
    yield parts.search(TREES, before("policy"), guide)
    yield parts.verified(TREES)
    compared = {"pool": here("pool"), "trees": here(TREES)}
    yield Stage("pairs", "pairs", compared, ("selection.pairs",), ("format",), "refine")
    yield parts.policy(e, r, parts.PROBLEMS)
    yield from parts.control(e, r, TREES, parts.PROBLEMS)
    preferred = {"policy": here("policy"), "pairs": parts.history("pairs", now.training.ppm.history)}
    computed = ("engine.threads", "engine.batch", "engine.scoring")
    taught = ("training.ppm", "-training.ppm.history", "models.policy.lora", *computed, "seed")
    yield Stage("ppm", "ppm", preferred, taught, ("format",), "update")
    yield parts.evaluation(e, r, {"ppm": here("ppm")})
