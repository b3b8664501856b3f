"""`ppm`: which pairs train it and which measure it, and what follows where there are none."""

import logging

import polars as pl
import pytest

from assets import ppm
from models.examples import Pair
from perseid.artifacts import Store
from perseid.formats import TOOLS
from perseid.tables.validation import frame
from tests.assets.conftest import CURVE, EXPERIMENT, Begin, FakeTrainer, publish

TRAIN, HELD_OUT = f"{1:016x}", f"{2:016x}"


def pair(pair_id: str, split: str, chosen: str, rejected: str) -> tuple[object, ...]:
    return (pair_id, "p1", "step", split, "p?", "so far ", chosen, rejected, 1.0, -1.0, 0.25)


def published(store: Store, *pairs: tuple[object, ...]) -> None:
    publish(store, "x/round_01/policy", {}, {"model/model.safetensors": "policy"})
    publish(store, "x/round_01/pairs", {"pairs": frame("pairs", pairs)})


def test_pairs_of_the_training_split_train_it_and_all_are_scored(store: Store, begin: Begin) -> None:
    published(store, pair(TRAIN, "train", "long step", "step"), pair(HELD_OUT, "held_out", "b", "longer b"))
    trainer = FakeTrainer()
    work = begin("x/round_01/ppm", trainer)
    made = ppm.make(work)
    [(kind, known, start, settings, lora, out, attempt)] = trainer.asked
    told = TOOLS.prompt("p?", ("so far ",))
    assert (kind, known, lora) == ("ppm", [Pair(told, ("long step",), ("step",), 0.25)], None)
    assert (start / "model.safetensors").read_text() == "policy"
    assert (settings, out) == (EXPERIMENT.training.ppm, work.draft.path("model"))
    assert (attempt.artifact, attempt.section) == ("x/round_01/ppm", "training.ppm")
    assert made.metrics == {"pairs": 1, "pair_accuracy_held_out": 0.0, "pair_accuracy_train": 1.0}
    manifest = work.draft.publish("code", {})
    assert store.read(manifest, "training").rows() == CURVE.rows()
    assert store.read(manifest, "pair_scores").rows() == [
        (TRAIN, "train", 0.39, 0.34),
        (HELD_OUT, "held_out", 0.31, 0.38),
    ]


def test_without_a_pair_to_train_on_it_is_said_and_nothing_is_scored(
    store: Store, begin: Begin, caplog: pytest.LogCaptureFixture
) -> None:
    published(store, pair(HELD_OUT, "held_out", "b", "longer b"))
    work = begin("x/round_01/ppm", FakeTrainer(CURVE.clear()))
    made = ppm.make(work)
    assert made.metrics == {"pairs": 0}
    assert made.notes == {"untrained": "There were no pairs to train on."}
    assert "x/round_01/ppm: round 1 found no pairs to train on" in caplog.text
    manifest = work.draft.publish("code", {})
    assert [store.read(manifest, table).height for table in ("training", "pair_scores")] == [0, 0]


@pytest.mark.parametrize(("curve", "asked"), [(CURVE, True), (CURVE.clear(), False)])
def test_an_untrained_ppm_is_asked_by_nobody(
    store: Store, begin: Begin, caplog: pytest.LogCaptureFixture, curve: pl.DataFrame, asked: bool
) -> None:
    publish(store, "x/round_01/ppm", {"training": curve}, {"model/model.safetensors": "ppm"})
    work = begin("x/round_01/evaluation", FakeTrainer())
    with caplog.at_level(logging.WARNING):
        scorer = ppm.scorer_of(work, "ppm")
    assert (scorer is not None) == asked
    assert ("the PPM x/round_01/ppm is untrained, so it is not asked" in caplog.text) == (not asked)


def test_a_tie_of_scores_is_a_failure() -> None:
    scores = pl.DataFrame({"split": ["train"] * 2, "score_chosen": [0.5, 0.5], "score_rejected": [0.5, 0.4]})
    assert ppm.accuracy(scores) == {"pair_accuracy_train": 0.5}
