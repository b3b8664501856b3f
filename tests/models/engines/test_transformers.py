"""The embedded engine, with real weights."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from models.engines.drawing import nucleus, uniform
from models.engines.transformers import TransformersEngine
from perseid.engine import Completion, Generate, Prompt, Sampling
from perseid.experiment import Transformers
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP

QUESTIONS = (
    "GCD of 12, 18",
    "Multiply these factors: 3 * 4 * 5",
    "Find the Greatest Common Divisor (GCD) of these numbers: 9, 6",
)
STEP = Sampling(temperature=1.0, max_tokens=16, stop=(END_OF_STEP, END_OF_ANSWER))


@pytest.fixture(scope="module")
def engine(untrained: Path) -> TransformersEngine:
    return TransformersEngine(untrained, Transformers(batch=8))


@pytest.fixture(scope="module")
def trained(policy: Path) -> TransformersEngine:
    return TransformersEngine(policy, Transformers(batch=8))


def prompts() -> list[str]:
    return [TOOLS.prompt(question).text for question in QUESTIONS]


@pytest.mark.slow
def test_greedy_decoding_is_what_transformers_itself_generates(trained: TransformersEngine, policy: Path) -> None:
    tokenizer, model = PreTrainedTokenizerFast.from_pretrained(policy), AutoModelForCausalLM.from_pretrained(policy)
    sampling = Sampling(temperature=0.0, max_tokens=24, stop=(END_OF_ANSWER,))
    found = trained.generate_now([Generate(Prompt.of(prompt), 0, sampling) for prompt in prompts()])
    for prompt, completion in zip(prompts(), found, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        wanted = model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1] :]
        text = tokenizer.decode(wanted)
        assert completion.text + completion.stop == text.split(END_OF_ANSWER)[0] + (
            END_OF_ANSWER if END_OF_ANSWER in text else ""
        )


def test_a_request_is_answered_alike_whoever_shares_its_batch(engine: TransformersEngine) -> None:
    requests = [Generate(Prompt.of(prompt), seed, STEP) for prompt in prompts() for seed in range(3)]
    together = engine.generate_now(requests)
    assert [engine.generate_now([request])[0] for request in requests] == together


def test_seeds_draw_different_texts_and_the_same_seed_the_same(engine: TransformersEngine) -> None:
    hot = Sampling(temperature=3.0, max_tokens=16, stop=(END_OF_STEP,))
    texts = [
        c.text for c in engine.generate_now([Generate(Prompt.of(prompts()[0]), seed, hot) for seed in (1, 2, 3, 1)])
    ]
    assert len(set(texts)) == 3
    assert texts[0] == texts[3]


@pytest.mark.slow
def test_a_completion_ends_at_its_stop_string_or_its_limit(trained: TransformersEngine) -> None:
    likely = Sampling(temperature=0.0, max_tokens=16, stop=(END_OF_STEP, END_OF_ANSWER))
    short = Sampling(temperature=0.0, max_tokens=2, stop=(END_OF_STEP, END_OF_ANSWER))
    stopped, cut = trained.generate_now(
        [Generate(Prompt.of(prompts()[0]), 0, likely), Generate(Prompt.of(prompts()[0]), 0, short)]
    )
    assert (stopped.stop, END_OF_STEP in stopped.text) == (END_OF_STEP, False)
    assert (cut.stop, cut.num_tokens) == ("", 2)


def test_a_prompt_that_fills_the_context_is_refused(engine: TransformersEngine) -> None:
    """It alone: its neighbours in the call are answered as without it."""
    asked = [Generate(Prompt.of(prompts()[0]), 0, STEP), Generate(Prompt.of(prompts()[1]), 1, STEP)]
    before, refused, after = engine.generate_now([asked[0], Generate(Prompt.of("7" * 128), 0, STEP), asked[1]])
    assert refused == Completion("", "", 0, "a prompt of 128 tokens leaves no room in a context of 128")
    assert [before, after] == engine.generate_now(asked)


def test_hashed_uniform_numbers_are_uniform_and_differ_by_position() -> None:
    drawn = uniform(range(20_000), 3)
    assert abs(drawn.mean() - 0.5) < 0.01
    assert 0.0 <= drawn.min() < drawn.max() < 1.0
    assert (drawn != uniform(range(20_000), 4)).all()


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    kept = nucleus(torch.tensor([[0.5, 0.1, 0.3, 0.1]]), torch.tensor([0.7]))
    assert kept.tolist() == [[0.5, 0.0, pytest.approx(0.3), 0.0]]
