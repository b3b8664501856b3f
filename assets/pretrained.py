"""`policy` of round 0 where there is a model already: a pointer to it, checked and hashed; nothing is copied."""

import polars as pl

from assets.policy import EXAMPLES
from assets.registry import registered as after
from assets.training import attempt_at
from assets.work import Made, Work
from perseid.checkpoints import Pretrained
from perseid.tables.validation import frame

__all__ = ["VERSION", "after", "make"]

VERSION = 1
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    base = work.settings.models.policy
    assert isinstance(base, Pretrained)
    work.machines.trainer().point(base, work.draft.path("model"), attempt_at(work, "models.policy"))
    work.table("examples", frame("examples", []).select(EXAMPLES))
    work.table("training", pl.DataFrame(schema={"step": pl.Int64, "loss": pl.Float64, "tokens": pl.Int64}))
    return Made(metrics={"examples": 0})
