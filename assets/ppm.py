"""`ppm`: the process preference model, trained from the round's policy on the pairs so far.

Held-out pairs (split by problem) only measure it. Without a pair to train on there is no PPM to speak of: the artifact
is made, empty of scores, and whoever would be guided by it goes on without (`scorer_of`).
"""

import asyncio
import logging

import polars as pl

from assets import plots
from assets.registry import registered as after
from assets.training import attempt_at, left_out, left_out_of
from assets.work import Made, Work
from models.examples import Pair
from perseid.engine import Scorer

__all__ = ["VERSION", "after", "make", "scorer_of"]

VERSION = 5  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}
SCORES = {
    "pair_id": pl.String,
    "split": pl.String,
    "score_chosen": pl.Float64,
    "score_rejected": pl.Float64,
}

log = logging.getLogger(__name__)


def make(work: Work) -> Made:
    e, out = work.settings, work.draft.path("model")
    work.machines.threads(e.engine)
    pairs = work.read("pairs", "pairs")
    known, settings = pairs.filter(pl.col("split") == "train"), e.training.ppm
    attempt, lora = attempt_at(work, "training.ppm"), e.models.policy.lora
    trained = work.machines.trainer().ppm(values(work, known), work.model("policy"), settings, lora, out, attempt)
    training, scores = trained.curve, pl.DataFrame(schema=SCORES)
    if training.height:
        scores = scored(pairs, values(work, pairs), work.machines.scorer(out, e.engine)).sort("pair_id")
    else:
        log.warning("%s: round %d found no pairs to train on; what follows goes on without a PPM", work.key, work.round)
    work.table("training", training)
    work.table("pair_scores", scores)
    untrained = {} if training.height else {"untrained": "There were no pairs to train on."}
    return Made(
        metrics={"pairs": known.height - len(trained.left_out), **left_out_of(trained), **accuracy(scores)},
        curves={"training_loss": list(training.select("step", "loss").iter_rows())},
        pictures={"loss": plots.loss(training), "margins": plots.score_margins(scores)},
        notes={**untrained, **left_out(trained, "pairs")},
        tokens=max(training["tokens"], default=0),
    )


def values(work: Work, pairs: pl.DataFrame) -> list[Pair]:
    """Rows of pairs as a trainer takes them: the question and the steps before, and what follows on either side."""
    told, split = work.format.prompt, work.format.split
    columns = pairs.select("question", "prefix", "chosen", "rejected", "weight").iter_rows()
    return [Pair(told(q, split(before)), split(good), split(bad), weight) for q, before, good, bad, weight in columns]


def scorer_of(work: Work, role: str) -> Scorer | None:
    """The PPM in a role of this work; None where there is none, or it is untrained."""
    if not work.given(role):
        return None
    if work.read(role, "training").is_empty():
        log.warning("%s: the PPM %s is untrained, so it is not asked", work.key, work.input(role).key)
        return None
    return work.machines.scorer(work.model(role), work.settings.engine)


def scored(pairs: pl.DataFrame, values: list[Pair], scorer: Scorer) -> pl.DataFrame:
    """Scores of both sides of each pair."""
    chosen = asyncio.run(scorer.score([p.prompt._replace(steps=(*p.prompt.steps, *p.chosen)) for p in values]))
    rejected = asyncio.run(scorer.score([p.prompt._replace(steps=(*p.prompt.steps, *p.rejected)) for p in values]))
    columns = {"score_chosen": chosen, "score_rejected": rejected}
    return pairs.select("pair_id", "split").with_columns(pl.Series(n, v, pl.Float64) for n, v in columns.items())


def accuracy(scores: pl.DataFrame) -> dict[str, float]:
    """Share of pairs whose chosen side scores higher, by split; a tie is a failure."""
    right = scores.group_by("split").agg((pl.col("score_chosen") > pl.col("score_rejected")).mean().alias("right"))
    return {f"pair_accuracy_{split}": float(share) for split, share in right.sort("split").iter_rows()}
