"""Stages that more than one recipe has: what each does, reads and uses, said once.

A change here is a change of every such recipe's graph. A maker sees nothing of the experiment but what its stage reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from perseid.recipes.control import READS, control_round
from perseid.recipes.stage import Refs, Stage, base, earlier, here, of_round, once, so_far

if TYPE_CHECKING:
    from perseid.experiment import Experiment

PROBLEMS: Final = {"problems": once("problems")}
BASE: Final = {"base": base("policy")}
# The policy and its control train alike; how often a verified example stands in an epoch matters to the one alone, if
# the other has none of its kind. Whose examples train (`history`) decides which inputs there are, and stands there.
TRAINING: Final = ("training.policy", "-training.policy.history", "models.policy.lora", "engine.threads", "seed")
ANSWERING: Final = ("searching", "sampling", "format", "kernel", "grader", "sandbox", "prelude")


def problems() -> Stage:
    drawn = ("problems", "-problems.pool", "seed")
    return Stage("problems", "problems", {}, drawn, ("sources", "prelude", "format"))


def first(e: Experiment) -> Iterator[Stage]:
    """Round 0: the base, and what it can do. Nothing is verified yet, so no program is run on fresh instances."""
    yield base_policy(e)
    asked = ("evaluation", "-evaluation.fresh_instances", "engine", "seed")
    known = {**PROBLEMS, "policy": here("policy")}
    yield Stage("evaluation", "evaluation", known, asked, ANSWERING, "evaluate")


def base_policy(e: Experiment) -> Stage:
    """Made from nothing and trained on the demonstrations; or a pointer to a model that there is already."""
    if e.models.policy.base == "pretrained":
        return Stage(
            "policy", "pretrained", {}, ("models.policy", "-models.policy.format", "seed"), ("template",), "update"
        )
    made = ("models.policy", "-models.policy.format", "training.bootstrap", "engine.threads", "seed")
    return Stage("policy", "bootstrap", PROBLEMS, made, ("format",), "update")


def pool() -> Stage:
    return Stage("pool", "pool", {**PROBLEMS, "asked": earlier("pool")}, ("problems", "seed"), ("sources",), "acquire")


def search(name: str, policy: Refs, guide: Mapping[str, Refs]) -> Stage:
    """The pool's problems, answered by the policy that is given, in parts; `guide` may hold a PPM."""
    known = {"pool": here("pool"), "policy": policy, **guide}
    uses = ("method", "format", "kernel", "grader", "sandbox", "prelude")
    return Stage(name, "trajectories", known, ("method", "engine", "shards", "seed"), uses, "acquire", sharded=True)


def verified(trees: str) -> Stage:
    known, uses = {"pool": here("pool"), "trees": here(trees)}, ("format", "grader", "sandbox", "prelude")
    return Stage("verified", "verified", known, ("selection", "-selection.pairs"), uses, "refine")


def policy(e: Experiment, r: int, more: Mapping[str, Refs]) -> Stage:
    """Trained from the base, on what was verified and what is given `more` of."""
    known = {**more, **BASE, "verified": history("verified", e.at(r).training.policy.history)}
    return Stage("policy", "policy", known, TRAINING, ("format",), "update")


def control(e: Experiment, r: int, trees: str, more: Mapping[str, Refs]) -> Iterator[Stage]:
    """The stages of the arm that the section `control` asks for, if this round has one of its own.

    Where epochs say how long the policy trains, the arm is told by it: fewer examples would be fewer steps.
    """
    pace = {"pace": here("policy")} if e.at(r).training.policy.epochs else {}
    if e.control is not None and e.control.kind == "unverified":
        drawn = {"pool": here("pool"), "trees": here(trees), "verified": here("verified")}
        yield Stage("unverified", "unverified", drawn, ("selection.top", "seed"), ("format",), "refine")
        known = {**more, **BASE, "unverified": history("unverified", e.at(r).training.policy.history), **pace}
        yield Stage("control", "control", known, ("control", *TRAINING), ("format",), "update")
    elif control_round(e, r) == r:
        yield Stage("control", "control", {**PROBLEMS, **BASE, **pace}, READS, ("format",), "update")


def evaluation(e: Experiment, r: int, more: Mapping[str, Refs]) -> Stage:
    """The round's policy and its control on the held-out problems; `more` may hold a PPM."""
    number = control_round(e, r)
    arm = {"control": of_round(number, "control")} if number else {}
    judged = {**PROBLEMS, "asked": so_far("pool"), "policy": here("policy"), **arm, **more}
    known = {**judged, "verified": here("verified"), "earlier": earlier("evaluation")}
    reads, uses = ("evaluation", "engine", "seed"), (*ANSWERING, "redraws")
    return Stage("evaluation", "evaluation", known, reads, uses, "evaluate")


def history(stage: str, rounds: str) -> Refs:
    return so_far(stage) if rounds == "all_rounds" else here(stage)
