"""`ppm`: the process preference model, trained from the round's policy on the pairs so far.

Held-out pairs (split by problem) only measure it.
"""

import polars as pl

from assets import plots
from assets.registry import registered as after
from assets.work import Made, Work

__all__ = ["VERSION", "after", "make"]

VERSION = 3  # a version is what was read: of the engine, threads and batch
KINDS = {"pytorch"}


def make(work: Work) -> Made:
    from models.ppm import PpmScorer, score_pairs, train_ppm

    e, out = work.settings, work.draft.path("model")
    work.machines.threads(e.engine)
    pairs = pl.concat([work.store.read(manifest, "pairs") for manifest in work.rounds_of("pairs").values()])
    known, settings = pairs.filter(pl.col("split") == "train"), e.training.ppm
    training = train_ppm(known, work.model("policy"), settings, out, e.seed, work.steps)
    scores = score_pairs(pairs, PpmScorer(out, e.engine)).sort("pair_id")
    work.table("training", training)
    work.table("pair_scores", scores)
    return Made(
        metrics={"pairs": known.height, **accuracy(scores)},
        curves={"training_loss": list(training.select("step", "loss").iter_rows())},
        pictures={"loss": plots.loss(training), "margins": plots.score_margins(scores)},
        tokens=int(training["tokens"].max() or 0),
    )


def accuracy(scores: pl.DataFrame) -> dict[str, float]:
    """Share of pairs whose chosen side scores higher, by split; a tie is a failure."""
    right = scores.group_by("split").agg((pl.col("score_chosen") > pl.col("score_rejected")).mean().alias("right"))
    return {f"pair_accuracy_{split}": float(share) for split, share in right.sort("split").iter_rows()}
