"""`policy`: the round's checkpoint, fine-tuned from the base, which is round_00's policy.

It learns from what its recipe gives it: the demonstrations, the verified trajectories, those of an arm that nobody
verified. What an example is worth stands in `examples`, so every checkpoint names the rows that made it.
"""

import polars as pl

from assets import plots
from assets.registry import registered as after
from assets.training import attempt_at, left_out, left_out_of
from assets.work import Made, Work
from models.examples import Example, Trained
from perseid.errors import UserError
from perseid.tables import columns_of
from perseid.training import PolicyTraining

__all__ = ["VERSION", "after", "make"]

VERSION = 4  # a checkpoint says nothing of how its tokenizer was loaded
KINDS = {"pytorch"}
EXAMPLES = tuple(columns_of("examples"))
TEXTS = ("question", "response")
LEARNED = ("verified", "unverified")  # roles that give trajectories


def make(work: Work) -> Made:
    return train(work, taught(work), work.settings.training.policy)


def taught(work: Work) -> pl.DataFrame:
    """What the recipe lets it learn from, in order. Raises `UserError` where that is nothing.

    What was found again in a later round counts once, for the first.
    """
    shown = [demonstrated(work)] if work.given("problems") else []
    found = [rows for role in LEARNED if work.given(role) for rows in learned(work, role)]
    rows = pl.concat([*shown, *found]).unique("example_id", keep="first", maintain_order=True)
    if rows.is_empty():
        more = "more samples a problem, or easier problems"
        raise UserError(work.key, "training.policy", f"expected an example to train on, nothing was verified: {more}")
    return rows


def train(work: Work, rows: pl.DataFrame, settings: PolicyTraining) -> Made:
    e = work.settings
    work.machines.threads(e.engine)
    out = work.draft.path("model")
    attempt, lora = attempt_at(work, "training.policy"), e.models.policy.lora
    learned = examples(work, rows)
    trained = work.machines.trainer().policy(learned, work.model("base"), settings, lora, out, attempt)
    return record(work, rows, trained)


def examples(work: Work, rows: pl.DataFrame) -> list[Example]:
    """Rows with question, response and weight, as a trainer takes them."""
    told, split = work.format.prompt, work.format.split
    texts = rows.select("question", "response", "weight").iter_rows()
    return [Example(told(question), split(response), weight) for question, response, weight in texts]


def record(work: Work, rows: pl.DataFrame, trained: Trained) -> Made:
    """The rows that trained a checkpoint, without those that were left out, and its loss curve."""
    rows = rows.with_row_index("place").filter(~pl.col("place").is_in(list(trained.left_out)))
    training = trained.curve
    work.table("examples", rows.select(*EXAMPLES).sort("example_id"))
    work.table("training", training)
    sources = rows.group_by("source", "round").agg(pl.len().alias("examples"), pl.col("weight").first())
    final = {"loss": float(training["loss"][-1])} if training.height else {}
    return Made(
        metrics={"examples": rows.height, **left_out_of(trained), **final},
        curves={"training_loss": list(training.select("step", "loss").iter_rows())},
        pictures={"loss": plots.loss(training)},
        tables={"examples": sources.sort("source", "round")},
        notes=left_out(trained, "examples"),
        tokens=max(training["tokens"], default=0),
    )


def demonstrated(work: Work) -> pl.DataFrame:
    """The demonstrations as examples, each once an epoch."""
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
    return with_questions(rows, shown["question"])


def learned(work: Work, role: str) -> list[pl.DataFrame]:
    """Trajectories of the table that is called as the role is, as examples, a frame a round."""
    weight = float(work.settings.training.policy.verified_weight)
    frames = []
    for number, manifest in work.inputs_of(role).items():
        kept = work.store.read(manifest, role)
        rows = kept.select(
            pl.col("trajectory_id").alias("example_id"),
            pl.lit(role).alias("source"),
            pl.lit(number, pl.Int64).alias("round"),
            "problem_id",
            "trajectory_id",
            pl.lit(weight).alias("weight"),
            "response",
        )
        frames.append(with_questions(rows, kept["question"]))
    return frames


def with_questions(rows: pl.DataFrame, questions: pl.Series) -> pl.DataFrame:
    return rows.with_columns(questions.alias("question")).select(*EXAMPLES, *TEXTS)
