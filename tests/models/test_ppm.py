"""The process preference model: it learns an order, and serves it in (-1, 1)."""

import math
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from models.examples import Pair
from models.ppm import train_ppm
from models.scorer import PpmScorer
from perseid.engine import Prompt
from perseid.experiment import PpmTraining, Transformers
from perseid.formats import TOOLS
from tests.models.conftest import ATTEMPT

pytestmark = pytest.mark.slow

GOOD, BAD = "# take gcd\nb = gcd(a)<|end_of_step|>", "# take prod\nb = prod(a)<|end_of_step|>"
SETTINGS = PpmTraining(epochs=6, batch=8, learning_rate=5e-3)


def pairs(numbers: range) -> list[Pair]:
    return [Pair(TOOLS.prompt(f"GCD of {n}, {2 * n}"), (GOOD,), (BAD,), 0.25) for n in numbers]


@pytest.fixture(scope="module")
def ppm(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppm")
    curve, left_out = train_ppm(pairs(range(10, 42)), policy, SETTINGS, None, folder, ATTEMPT)
    assert left_out == ()
    assert curve["loss"][0] > curve["loss"][-1]
    return folder


def scored(scorer: PpmScorer, texts: Iterable[str]) -> list[float]:
    return scorer.score_now([Prompt.of(text) for text in texts])


def test_held_out_pairs_are_put_in_order(ppm: Path) -> None:
    held_out, scorer = pairs(range(60, 80)), PpmScorer(ppm, Transformers())
    chosen = scorer.score_now([pair.prompt._replace(steps=pair.chosen) for pair in held_out])
    rejected = scorer.score_now([pair.prompt._replace(steps=pair.rejected) for pair in held_out])
    assert all(higher > lower for higher, lower in zip(chosen, rejected, strict=True))


def test_a_score_is_the_tanh_of_the_last_token_s_logit_over_the_scale(ppm: Path) -> None:
    scorer = PpmScorer(ppm, Transformers())
    prefix = TOOLS.prompt("GCD of 4, 6", (GOOD,)).text
    ids = torch.tensor([scorer.tokenizer(prefix)["input_ids"]])
    with torch.inference_mode():
        logit = scorer.model(input_ids=ids).logits.item()
    assert scored(scorer, [prefix, TOOLS.prompt("GCD of 4, 6").text])[0] == pytest.approx(math.tanh(logit / 5.0))
    assert scorer.model.config.ppm_scale == 5.0


def test_scores_do_not_depend_on_what_shares_their_batch(ppm: Path) -> None:
    scorer = PpmScorer(ppm, Transformers(batch=3))
    prefixes = [TOOLS.prompt(f"GCD of {n}, 6", (GOOD if n % 2 else BAD,)).text for n in (1, 22, 333, 4444, 55555)]
    alone = [scored(scorer, [prefix])[0] for prefix in prefixes]
    assert scored(scorer, prefixes) == pytest.approx(alone, abs=1e-6)


def test_what_siblings_share_is_computed_once_and_changes_no_score(ppm: Path) -> None:
    scorer = PpmScorer(ppm, Transformers())
    long, short = TOOLS.prompt("GCD of 1234567, 7654321", (4 * GOOD,)).text, TOOLS.prompt("GCD of 4, 6").text
    prefixes = [before + step for before in (long, short) for step in (GOOD, BAD, "b = gcd(a)", "# stop")] + [long]
    whole = []
    with torch.inference_mode():
        for prefix in prefixes:
            ids = scorer.tokenizer(prefix, return_tensors="pt")["input_ids"]
            whole.append(math.tanh(scorer.model(input_ids=ids).logits.item() / 5.0))
    computed = []
    scorer.model.base_model.register_forward_pre_hook(
        lambda model, args, given: computed.append((args[0] if args else given["input_ids"]).numel()), with_kwargs=True
    )
    assert scored(scorer, prefixes) == pytest.approx(whole, abs=1e-6)
    assert sum(computed) < 0.6 * sum(len(scorer.tokenizer(prefix)["input_ids"]) for prefix in prefixes)
