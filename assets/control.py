"""`control`: the arm without search, trained from the base on the demonstrations alone, in as many optimiser steps."""

from assets.journals import forgotten as after
from assets.policy import demonstrated, train
from assets.work import Made, Work

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    return train(work, [demonstrated(work)])
