import asyncio

from models.engines.scripted import Choices, ScriptedEngine
from perseid.engine import Completion, Generate, Prompt, Sampling

ENGINE = ScriptedEngine(Choices(lambda prompt: [(f"{prompt} one", "|"), (f"{prompt} two words", "")]))
REQUESTS = [Generate(Prompt.of(prompt), seed, Sampling()) for prompt in ("a", "b") for seed in range(20)]


def test_an_answer_depends_on_prompt_and_seed_and_not_on_the_batch() -> None:
    together = asyncio.run(ENGINE.generate(REQUESTS))
    alone = [asyncio.run(ENGINE.generate([request]))[0] for request in REQUESTS[::-1]][::-1]
    assert together == alone


def test_every_option_is_drawn_and_counted_in_words() -> None:
    drawn = set(asyncio.run(ENGINE.generate(REQUESTS[:20])))
    assert drawn == {Completion("a one", "|", 3), Completion("a two words", "", 4)}
