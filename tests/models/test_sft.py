"""The policy: what is learnt, from what, and that it is repeatable."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.checkpoint import weights_hash
from models.examples import Example
from models.sft import encode, train_policy
from models.weights import Weights
from perseid.errors import UserError
from perseid.formats import TOOLS
from tests.models.conftest import ATTEMPT, SETTINGS

pytestmark = pytest.mark.slow


def test_the_same_examples_and_seed_give_the_same_weights(
    examples: list[Example], untrained: Path, policy: Path, tmp_path: Path
) -> None:
    train_policy(examples, untrained, SETTINGS, None, tmp_path / "again", ATTEMPT)
    train_policy(examples, untrained, SETTINGS, None, tmp_path / "other", replace(ATTEMPT, seed=1))
    assert weights_hash(tmp_path / "again") == weights_hash(policy)
    assert weights_hash(tmp_path / "other") != weights_hash(policy)


def test_the_loss_falls_and_every_optimiser_step_is_told(
    examples: list[Example], untrained: Path, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    attempt = replace(ATTEMPT, progress=lambda *step: told.append(step))
    curve, left_out = train_policy(examples, untrained, SETTINGS, None, tmp_path, attempt)
    assert left_out == ()
    assert told == [(step, 80) for step in range(1, 81)]
    assert curve["step"].to_list() == list(range(10, 81, 10))
    assert curve["loss"][-1] < curve["loss"][0] / 2
    assert curve["tokens"].is_sorted()


def test_the_loss_looks_at_the_response_alone(policy: Path) -> None:
    renderer = Weights.of(policy).renderer()
    example = Example(TOOLS.prompt("GCD of 4, 6"), ("a = 1<|end_of_step|>", "# answer\nprint(a)<|end_of_answer|>"))
    row = encode(renderer, example)
    learnt = [label for label in row["labels"] if label != -100]
    assert renderer.decode(row["input_ids"]) == example.prompt.text + "".join(example.steps)
    assert renderer.decode(learnt) == "".join(example.steps)


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a checkpoint folder with a \.safetensors file"):
        weights_hash(tmp_path)
