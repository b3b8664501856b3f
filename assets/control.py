"""`control`: the arm without search, trained from the base on the demonstrations alone, in as many optimiser steps."""

from assets.policy import demonstrated, train
from assets.work import Made, Work

VERSION = 2  # a version is what was read: no verified example stands in an epoch of it
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    return train(work, [demonstrated(work)])
