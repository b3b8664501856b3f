"""`control`: the arm that the policy is compared with, trained from the base on what the recipe gives it instead."""

from assets.journals import forgotten as after
from assets.policy import taught, train
from assets.work import Made, Work
from perseid.training import PolicyTraining

__all__ = ["VERSION", "after", "make"]

VERSION = 5  # takes as many steps as the policy, where epochs say how many
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    return train(work, taught(work), paced(work))


def paced(work: Work) -> PolicyTraining:
    """As long as the policy in the role `pace` trained, where there is one: epochs over its examples, as steps."""
    settings: PolicyTraining = work.settings.training.policy
    if not work.given("pace"):
        return settings
    rows = sum(round(weight) for weight in work.read("pace", "examples")["weight"])
    steps = settings.epochs * -(-rows // settings.batch)
    return settings.model_copy(update={"steps": steps, "epochs": 0})
