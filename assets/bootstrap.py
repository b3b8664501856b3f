"""`policy` of round 0, the base: a model made from nothing and trained on the demonstrations."""

import tempfile
from pathlib import Path

from assets.policy import demonstrated, record
from assets.registry import registered as after
from assets.training import attempt_at
from assets.work import Made, Work
from perseid.checkpoints import TinyLlama
from perseid.formats.tools import MARKS

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    e, examples, trainer = work.settings, demonstrated(work), work.machines.trainer()
    base = e.models.policy
    assert isinstance(base, TinyLlama)
    attempt = attempt_at(work, "training.bootstrap")
    work.machines.threads(e.engine)
    with tempfile.TemporaryDirectory() as start:
        trainer.bootstrap(examples, base, MARKS, Path(start), attempt)
        training = trainer.policy(examples, Path(start), e.training.bootstrap, work.draft.path("model"), attempt)
    return record(work, examples, training)
