"""What both trainings refuse: examples that teach nothing, steps that diverge, results that are the start's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.bases.tiny_llama import bootstrap
from models.checkpoint import weights_hash
from models.examples import Example
from models.ppm import train_ppm
from models.scorer import PpmScorer
from models.sft import train_policy
from models.training import warm_up
from perseid.checkpoints import TinyLlama
from perseid.engine import Prompt
from perseid.errors import UserError
from perseid.experiment import PolicyTraining, PpmTraining, Transformers
from perseid.formats.tools import MARKS
from tests.models.conftest import ATTEMPT
from tests.models.test_ppm import pairs

PPM = replace(ATTEMPT, artifact="x/round_01/ppm", section="training.ppm")


@pytest.mark.parametrize(
    ("steps", "wanted", "found"), [(1, 2, 0), (3, 2, 0), (4, 2, 1), (7, 2, 1), (8, 2, 2), (4, 1, 1), (250, 12, 12)]
)
def test_a_warm_up_is_what_was_wanted_but_at_most_a_quarter(steps: int, wanted: int, found: int) -> None:
    assert warm_up(steps, wanted) == found


def changed(start: Path, end: Path) -> set[str]:
    """The groups of tensors, body (`model`) and head, that differ between two checkpoints."""
    before, after = (load_file(folder / "model.safetensors") for folder in (start, end))
    same = {name for name in after if name in before and after[name].equal(before[name])}
    return {name.partition(".")[0] for name in set(after) - same}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 32, 33])
def test_few_pairs_train_the_body_and_the_head_of_the_ppm(policy: Path, tmp_path: Path, count: int) -> None:
    known = pairs(range(10, 10 + count))
    curve, _ = train_ppm(known, policy, PpmTraining(), None, tmp_path / "a", PPM)
    train_ppm(known, policy, PpmTraining(learning_rate=2e-3), None, tmp_path / "b", PPM)
    assert changed(policy, tmp_path / "a") == {"model", "score"}
    assert changed(tmp_path / "a", tmp_path / "b") == {"model", "score"}
    assert curve["step"].to_list() == [-(-count // 32)]


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_policy_trained_for_a_step_or_two_is_another(
    examples: list[Example], untrained: Path, tmp_path: Path, steps: int
) -> None:
    curve, _ = train_policy(examples, untrained, PolicyTraining(steps=steps, batch=4), None, tmp_path, ATTEMPT)
    assert changed(untrained, tmp_path) == {"model"}
    assert curve["step"].to_list() == [steps]


@pytest.mark.slow
def test_without_pairs_the_ppm_is_marked_untrained_and_nobody_is_scored_by_it(policy: Path, tmp_path: Path) -> None:
    assert train_ppm(pairs(range(0)), policy, PpmTraining(), None, tmp_path, PPM).curve.is_empty()
    assert json.loads((tmp_path / "config.json").read_text())["ppm_untrained"] is True
    with pytest.raises(UserError, match="ppm: expected a PPM that was trained; there were no pairs for this one"):
        PpmScorer(tmp_path, Transformers())


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e30, 1e38, 1e300, float("inf"), float("nan")])
@pytest.mark.parametrize("steps", [1, 20])
def test_a_policy_that_diverges_is_an_error_of_its_learning_rate_and_leaves_nothing(
    examples: list[Example], untrained: Path, tmp_path: Path, rate: float, steps: int
) -> None:
    settings = PolicyTraining(batch=4).model_copy(update={"learning_rate": rate, "steps": steps})
    attempt = replace(ATTEMPT, state=tmp_path / "state", every_s=0.0)
    with pytest.raises(UserError) as found:
        train_policy(examples, untrained, settings, None, tmp_path / "out", attempt)
    assert (found.value.where, found.value.key) == ("x/round_01/policy", "training.policy.learning_rate")
    assert "\n" not in str(found.value)
    assert f"{rate:g}" in str(found.value)
    assert list(tmp_path.rglob("*.*")) == []


@pytest.mark.slow
def test_the_step_that_is_not_finite_is_named(examples: list[Example], untrained: Path, tmp_path: Path) -> None:
    settings = PolicyTraining(batch=4, steps=20, learning_rate=1e30)
    told: list[int] = []
    attempt = replace(ATTEMPT, progress=lambda done, total: told.append(done))
    with pytest.raises(UserError, match=r"at optimiser step 3 of 20 the (loss|norm of the gradient) is (nan|inf)"):
        train_policy(examples, untrained, settings, None, tmp_path, attempt)
    assert told == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 40, 200])
def test_a_ppm_that_diverges_is_an_error_of_its_own_learning_rate(policy: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match=r"x/round_01/ppm: training\.ppm\.learning_rate: .* found 1e\+30"):
        train_ppm(pairs(range(10, 10 + count)), policy, PpmTraining(learning_rate=1e30), None, tmp_path, PPM)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_training_that_moves_nothing_is_an_error_that_says_what_stood_still(
    examples: list[Example], untrained: Path, policy: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"found 1e-30: after 3 steps those of model are as they were"):
        train_policy(
            examples, untrained, PolicyTraining(steps=3, batch=4, learning_rate=1e-30), None, tmp_path / "p", ATTEMPT
        )
    with pytest.raises(UserError, match=r"found 1e-30: after 1 steps those of model, score are as they were"):
        train_ppm(pairs(range(10, 14)), policy, PpmTraining(learning_rate=1e-30), None, tmp_path / "q", PPM)
    assert list(tmp_path.rglob("*.safetensors")) == []


@pytest.mark.slow
def test_a_head_that_moves_alone_is_not_enough(policy: Path, tmp_path: Path) -> None:
    """At this rate the head moves, of weights near 1e-6; those of the body are too large for it."""
    with pytest.raises(UserError, match="those of model are as they were"):
        train_ppm(pairs(range(10, 14)), policy, PpmTraining(learning_rate=1e-11), None, tmp_path, PPM)


def example(prompt: str, response: str, weight: float = 1.0) -> Example:
    return Example(Prompt.of(prompt), (response,), weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "key", "told"),
    [
        (
            [example("7" * 200, "1"), example("7" * 140, "1")],
            "models.policy.context",
            "at least 141: all 2 examples are longer than 128 tokens, and none is cut",
        ),
        (
            [example("7", "1" * 300)] * 3,
            "models.policy.context",
            "at least 301: all 3 examples are longer than 128 tokens",
        ),
        ([example("7", ""), example("7", "1")], "training.policy", "a response in every example, 1 of 2 have nothing"),
        ([example("", "1")], "training.policy", "a response in every example, 1 of 1 have nothing to learn"),
        ([example("7", "1", weight=0.4)], "training.policy", "expected examples to train on, found none"),
        ([], "training.policy", "expected examples to train on, found none"),
    ],
)
def test_examples_that_cannot_be_learnt_are_refused_before_training(
    untrained: Path, tmp_path: Path, rows: list[Example], key: str, told: str
) -> None:
    with pytest.raises(UserError) as found:
        train_policy(rows, untrained, PolicyTraining(), None, tmp_path, ATTEMPT)
    assert (found.value.where, found.value.key) == ("x/round_01/policy", key)
    assert told in str(found.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_pair_longer_than_the_context_is_refused_whichever_side_it_is(policy: Path, tmp_path: Path) -> None:
    known = [pair._replace(rejected=("7" * 200,)) for pair in pairs(range(10, 14))]
    with pytest.raises(UserError, match=r"ppm: models\.policy\.context: expected at least \d+: all 4 examples"):
        train_ppm(known, policy, PpmTraining(), None, tmp_path, PPM)


@pytest.mark.parametrize(
    ("sizes", "key"),
    [
        ({"hidden_size": 65, "heads": 2}, "models.policy"),
        ({"hidden_size": 6, "heads": 2}, "models.policy"),
        ({"hidden_size": 4, "heads": 8}, "models.policy"),
        ({"hidden_size": 10**12, "heads": 2}, "models.policy"),  # no memory holds it, and none is touched
        ({"vocab_size": 3}, "models.policy.vocab_size"),
        ({"vocab_size": 260}, "models.policy.vocab_size"),
    ],
)
def test_sizes_of_which_no_model_can_be_made_are_one_line(
    examples: list[Example], tmp_path: Path, sizes: dict[str, int], key: str
) -> None:
    base = TinyLlama().model_copy(update=sizes)
    with pytest.raises(UserError) as found:
        bootstrap(examples, base, MARKS, tmp_path, ATTEMPT)
    assert (found.value.where, found.value.key) == ("x/round_01/policy", key)
    assert "\n" not in str(found.value)
    with pytest.raises(UserError):
        weights_hash(tmp_path)
