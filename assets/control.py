"""`control`: the arm that the policy is compared with, trained from the base on what the recipe gives it instead."""

from assets.journals import forgotten as after
from assets.policy import taught, train
from assets.work import Made, Work

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    return train(work, taught(work))
