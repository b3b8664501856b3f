"""rStar-Math's loop (arXiv 2501.04519, section 3.4): search, verify, train policy and process preference model, again.

Round 0 makes the base and says what it can do. A later round searches a pool with the policy of the round before (and,
where its settings ask for it, guided by the PPM of that round), keeps what is proven right, makes preference pairs of
the trees, trains the policy from the base and the PPM from the policy, and evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from perseid.recipes.base import base_stage
from perseid.recipes.control import control_round
from perseid.recipes.stage import Refs, Round, Stage, base, before, earlier, here, of_round, once, so_far

if TYPE_CHECKING:
    from perseid.experiment import Experiment

# The policy and its control train alike; how often a verified example stands in an epoch matters to the one alone.
# Whose verified examples train (`history`) decides which inputs there are, and stands there.
TRAINING: Final = ("training.policy", "-training.policy.history", "models.policy.lora", "engine.threads", "seed")
CONTROL: Final = ("control", *TRAINING, "-training.policy.verified_weight")
ANSWERING: Final = ("method", "sampling", "format", "kernel", "grader", "sandbox", "prelude")


def stages(e: Experiment, round: Round) -> Sequence[Stage]:
    if round is None:
        return [_problems()]
    return list(_first(e)) if round == 0 else list(_round(e, round))


def _problems() -> Stage:
    drawn = ("problems", "-problems.pool", "seed")
    return Stage("problems", "problems", {}, drawn, ("sources", "prelude", "format"))


def _first(e: Experiment) -> Iterator[Stage]:
    """The base, and what it can do. Nothing is verified yet, so no program is run on fresh instances."""
    yield base_stage(e)
    asked = ("evaluation", "-evaluation.fresh_instances", "engine", "seed")
    known = {"problems": once("problems"), "policy": here("policy")}
    yield Stage("evaluation", "evaluation", known, asked, ANSWERING, "evaluate")


def _round(e: Experiment, r: int) -> Iterator[Stage]:
    now = e.at(r)
    problems, pool, trees = once("problems"), here("pool"), here("trajectories")
    asked = {"problems": problems, "asked": earlier("pool")}
    yield Stage("pool", "pool", asked, ("problems", "seed"), ("sources",), "acquire")
    guide = {"guide": before("ppm")} if now.search.ppm and r > 1 else {}
    searched = {"pool": pool, "policy": before("policy"), **guide}
    searching = ("method", "format", "kernel", "grader", "sandbox", "prelude")
    search = ("search", "engine", "shards", "seed")
    yield Stage("trajectories", "trajectories", searched, search, searching, "acquire", sharded=True)
    found, rerun = {"pool": pool, "trees": trees}, ("format", "grader", "sandbox", "prelude")
    yield Stage("verified", "verified", found, ("selection.top",), rerun, "refine")
    yield Stage("pairs", "pairs", found, ("selection.pairs",), ("format",), "refine")
    shown = {"problems": problems, "base": base("policy")}
    learned = {**shown, "verified": _history("verified", now.training.policy.history)}
    yield Stage("policy", "policy", learned, TRAINING, ("format",), "update")
    control = control_round(e, r, CONTROL)
    if control == r:
        yield Stage("control", "control", shown, CONTROL, ("format",), "update")
    compared = {"policy": here("policy"), "pairs": _history("pairs", now.training.ppm.history)}
    computed = ("engine.threads", "engine.batch", "engine.scoring")
    taught = ("training.ppm", "-training.ppm.history", "models.policy.lora", *computed, "seed")
    yield Stage("ppm", "ppm", compared, taught, ("format",), "update")
    arm = {"control": of_round(control, "control")} if control else {}
    judged = {"problems": problems, "asked": so_far("pool"), "policy": here("policy"), **arm, "ppm": here("ppm")}
    known = {**judged, "verified": here("verified"), "earlier": earlier("evaluation")}
    yield Stage(
        "evaluation", "evaluation", known, ("evaluation", "engine", "seed"), (*ANSWERING, "redraws"), "evaluate"
    )


def _history(stage: str, history: str) -> Refs:
    return so_far(stage) if history == "all_rounds" else here(stage)
