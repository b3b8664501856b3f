"""`policy` of round 0, the base: a model made from nothing and trained on the demonstrations."""

import tempfile
from pathlib import Path

from assets.policy import demonstrated, examples, record
from assets.registry import registered as after
from assets.training import attempt_at
from assets.work import Made, Work
from perseid.checkpoints import TinyLlama
from perseid.formats.tools import MARKS

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    e, rows, trainer = work.settings, demonstrated(work), work.machines.trainer()
    base = e.models.policy
    assert isinstance(base, TinyLlama)
    attempt = attempt_at(work, "training.bootstrap")
    work.machines.threads(e.engine)
    with tempfile.TemporaryDirectory() as start:
        learned, out = examples(work, rows), work.draft.path("model")
        trainer.bootstrap(learned, base, MARKS, Path(start), attempt)
        trained = trainer.policy(learned, Path(start), e.training.bootstrap, base.lora, out, attempt)
    return record(work, rows, trained)
