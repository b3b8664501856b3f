"""`policy` of round 0, the base: a model made from nothing and trained on the demonstrations."""

import tempfile
from pathlib import Path

from assets.policy import demonstrated, record
from assets.registry import registered as after
from assets.work import Made, Work
from perseid.methods.rstar_math import MARKS

__all__ = ["VERSION", "after", "make"]

VERSION = 2  # a version is what was read: the settings of the bootstrap alone
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    from models.policy import bootstrap as untrained
    from models.policy import train_policy

    e, examples = work.settings, demonstrated(work)
    work.machines.threads(e.engine)
    with tempfile.TemporaryDirectory() as start:
        untrained(examples, e.base, MARKS, Path(start), e.seed)
        settings, out = e.training.bootstrap, work.draft.path("model")
        training = train_policy(examples, Path(start), settings, out, e.seed, work.steps)
    return record(work, examples, training)
