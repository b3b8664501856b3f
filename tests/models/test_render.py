"""Tokens of prompts: what trains is what is asked with, for any tokenizer and with or without a chat template."""

from pathlib import Path

import pytest

from models.attempt import Attempt
from models.bases.pretrained import point
from models.engines.transformers import TransformersEngine
from models.examples import Example
from models.render import Renderer
from models.sft import encode
from models.weights import Weights
from perseid.checkpoints import Pretrained
from perseid.engine import END, Message, Prompt
from perseid.engines import Transformers
from perseid.errors import UserError
from tests.models.tiny import ARCHITECTURES, CHATML, TOKENIZERS, checkpoint, fast

ATTEMPT = Attempt(0, "x/round_00/policy", "models.policy")
STEPS = ("# add\n", "x = 3 + 4\n", f"print(x)\n{END}")
MESSAGES = (Message("system", "Add.\n"), Message("user", "Question: 3 + 4?\nAnswer:\n"))
KINDS = [
    *(
        (architecture, tokenizer, template)
        for architecture in ARCHITECTURES
        for tokenizer in ("fast",)
        for template in ("", CHATML)
    ),
    *((architecture, "slow", template) for architecture in ("llama", "gpt2") for template in ("", CHATML)),
    ("llama", "beginning", ""),
]


@pytest.mark.parametrize(("architecture", "tokenizer", "template"), KINDS)
def test_tokens_that_train_are_the_tokens_that_are_asked_with(
    tmp_path: Path, architecture: str, tokenizer: str, template: str
) -> None:
    """Of a pretrained base, by the very objects that train and that generate."""
    folder = checkpoint(tmp_path / "base", architecture, tokenizer, template)
    told = "own" if template else "none"
    section = Pretrained.model_validate({"from": str(folder), "context": 128, "chat_template": told})
    point(section, tmp_path / "pointer", ATTEMPT)
    engine = TransformersEngine(tmp_path / "pointer", Transformers(threads=1))
    row = encode(Weights.of(tmp_path / "pointer").renderer(), Example(Prompt(MESSAGES), STEPS))
    for known in range(len(STEPS)):
        asked = engine.renderer.encode(Prompt(MESSAGES, STEPS[:known]))
        assert row["input_ids"][: len(asked)] == asked
        assert len(asked) < len(row["input_ids"])
    head = engine.renderer.encode(Prompt(MESSAGES))
    assert row["labels"] == [-100] * len(head) + row["input_ids"][len(head) :]
    assert row["input_ids"][-1] == engine.tokenizer.eos_token_id
    assert engine.renderer.decode(row["input_ids"][len(head) : -1]) == "".join(STEPS).removesuffix(END)


@pytest.mark.parametrize("tokenizer", sorted(TOKENIZERS))
def test_each_step_is_encoded_by_itself_whatever_follows_it(tokenizer: str) -> None:
    renderer = Renderer(TOKENIZERS[tokenizer]())
    told = renderer.encode(Prompt(MESSAGES))
    apart = [token for step in STEPS for token in renderer.encode_steps([step])]
    assert renderer.encode(Prompt(MESSAGES, STEPS)) == told + apart
    assert renderer.encode_steps(["x = 3", " + 4"]) == renderer.encode_steps(["x = 3"]) + renderer.encode_steps(
        [" + 4"]
    )


def test_without_a_template_messages_stand_as_they_are_behind_what_begins_a_text() -> None:
    plain, begins = Renderer(fast()), Renderer(TOKENIZERS["beginning"]())
    prompt = Prompt.of("Question: 3 + 4?\n")
    assert plain.decode(plain.encode(prompt)) == prompt.text
    assert begins.encode(prompt)[0] == begins.tokenizer.bos_token_id


def test_a_template_says_who_speaks() -> None:
    renderer = Renderer(fast(CHATML), CHATML)
    text = renderer.decode(renderer.encode(Prompt(MESSAGES, ("# add\n",))))
    assert text == (
        "<|im_start|>system\nAdd.\n<|im_end|>\n<|im_start|>user\nQuestion: 3 + 4?\nAnswer:\n<|im_end|>\n"
        "<|im_start|>assistant\n# add\n"
    )


def test_a_template_that_takes_no_such_prompt_is_one_line() -> None:
    renderer = Renderer(fast(), "{{ raise_exception('no system, please') }}")
    with pytest.raises(UserError, match=r"policy\.chat_template: expected a template that takes it: no system, please"):
        renderer.encode(Prompt(MESSAGES))


def test_an_end_where_a_tokenizer_has_none_is_one_line() -> None:
    tokenizer = fast()
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="expected a tokenizer with a token that ends a text; it has none"):
        Renderer(tokenizer).encode_steps([END])
