"""`policy`: the round's checkpoint, fine-tuned from the base, which is round_00's policy.

It learns from the demonstrations and the verified trajectories. What an example is worth stands in `examples`, so every
checkpoint names the rows that made it.
"""

import polars as pl

from assets import plots
from assets.registry import registered as after
from assets.training import attempt_at
from assets.work import Made, Work
from perseid.tables import columns_of

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}
EXAMPLES = tuple(columns_of("examples"))
TEXTS = ("prompt", "response")


def make(work: Work) -> Made:
    return train(work, [demonstrated(work), *learned(work)])


def train(work: Work, examples: list[pl.DataFrame]) -> Made:
    e, rows = work.settings, pl.concat(examples)
    work.machines.threads(e.engine)
    settings, out = e.training.policy, work.draft.path("model")
    attempt = attempt_at(work, "training.policy")
    training = work.machines.trainer().policy(rows, work.model("base"), settings, out, attempt)
    return record(work, rows, training)


def record(work: Work, examples: pl.DataFrame, training: pl.DataFrame) -> Made:
    work.table("examples", examples.select(*EXAMPLES).sort("example_id"))
    work.table("training", training)
    sources = examples.group_by("source", "round").agg(pl.len().alias("examples"), pl.col("weight").first())
    final = {"loss": float(training["loss"][-1])} if training.height else {}
    return Made(
        metrics={"examples": examples.height, **final},
        curves={"training_loss": list(training.select("step", "loss").iter_rows())},
        pictures={"loss": plots.loss(training)},
        tables={"examples": sources.sort("source", "round")},
        tokens=max(training["tokens"], default=0),
    )


def demonstrated(work: Work) -> pl.DataFrame:
    """The teacher's texts as examples, each once an epoch."""
    shown = work.read("problems", "demonstrations")
    rows = shown.select(
        "example_id",
        pl.col("kind").alias("source"),
        pl.lit(0, pl.Int64).alias("round"),
        "problem_id",
        pl.lit(None, pl.String).alias("trajectory_id"),
        pl.lit(1.0).alias("weight"),
        "response",
    )
    return with_prompts(work, rows, shown["question"])


def learned(work: Work) -> list[pl.DataFrame]:
    """Verified trajectories as examples, a frame a round."""
    weight = float(work.settings.training.policy.verified_weight)
    frames = []
    for number, manifest in work.inputs_of("verified").items():
        kept = work.store.read(manifest, "verified")
        rows = kept.select(
            pl.col("trajectory_id").alias("example_id"),
            pl.lit("verified").alias("source"),
            pl.lit(number, pl.Int64).alias("round"),
            "problem_id",
            "trajectory_id",
            pl.lit(weight).alias("weight"),
            "response",
        )
        frames.append(with_prompts(work, rows, kept["question"]))
    return frames


def with_prompts(work: Work, rows: pl.DataFrame, questions: pl.Series) -> pl.DataFrame:
    prompts = pl.Series("prompt", [work.format.prompt(question).text for question in questions], dtype=pl.String)
    return rows.with_columns(prompts).select(*EXAMPLES, *TEXTS)
