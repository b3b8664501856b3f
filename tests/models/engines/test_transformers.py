"""The embedded engine, with real weights."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from models.engines.transformers import TransformersEngine
from perseid.engine import END, Completion, Generate, Prompt, Sampling
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


def greedy(prompt: str, stop: tuple[str, ...], tokens: int = 24) -> Generate:
    return Generate(Prompt.of(prompt), 0, Sampling(temperature=0.0, max_tokens=tokens, stop=stop))


def test_a_stop_string_of_any_length_ends_the_text_before_it(engine: TransformersEngine) -> None:
    """Wherever it begins and ends within a token: every piece of a text is found, where it stands first."""
    whole = engine.generate_now([greedy(prompts()[0], ())])[0].text
    assert len(whole) > 12
    pieces = {whole[start : start + length] for start in range(1, len(whole) - 8, 3) for length in (1, 2, 3, 7)}
    found = engine.generate_now([greedy(prompts()[0], (piece,)) for piece in sorted(pieces)])
    assert [(c.text, c.stop) for c in found] == [(whole[: whole.index(p)], p) for p in sorted(pieces)]


def test_the_end_of_sequence_ends_a_text_where_it_is_asked_to(engine: TransformersEngine) -> None:
    """What the tokenizer ends a text with is `END_OF_ANSWER` here; asked for by its name it is told by its name."""
    hot = Sampling(temperature=5.0, max_tokens=100)
    asked = [Generate(Prompt.of(prompts()[0]), seed, hot) for seed in range(40)]
    there = [i for i, c in enumerate(engine.generate_now(asked)) if END_OF_ANSWER in c.text]
    assert there
    for stop in (END, END_OF_ANSWER):
        ended = engine.generate_now([r._replace(sampling=replace(hot, stop=(stop,))) for r in asked])
        assert [i for i, c in enumerate(ended) if c.stop] == there
        assert {c.stop for c in ended} == {"", stop}
        assert not any(END_OF_ANSWER in c.text for c in ended)
