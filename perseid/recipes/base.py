"""The stage of round 0 that makes the base, from which every policy is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perseid.recipes.stage import Stage, once

if TYPE_CHECKING:
    from perseid.experiment import Experiment


def base_stage(e: Experiment) -> Stage:
    """Made from nothing and trained on the demonstrations; or a pointer to a model that there is already."""
    if e.models.policy.base == "pretrained":
        return Stage("policy", "pretrained", {}, ("models.policy", "seed"), ("template",), "update")
    made = ("models.policy", "training.bootstrap", "engine.threads", "seed")
    return Stage("policy", "bootstrap", {"problems": once("problems")}, made, ("format",), "update")
