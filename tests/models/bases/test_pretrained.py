"""What is taken as a base and what is not, each refusal one line that says how to mend it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.attempt import Attempt
from models.bases.pretrained import licence_of, look
from models.weights import Weights
from perseid.checkpoints import Pretrained
from perseid.errors import UserError
from tests.models.tiny import CHATML, CONTEXT, checkpoint

ATTEMPT = Attempt(0, "x/round_00/policy", "models.policy")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("bases") / "base", "gpt2")


@pytest.fixture
def own(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "base"))


def section(folder: Path, **more: object) -> Pretrained:
    return Pretrained.model_validate({"from": str(folder), "context": 128, **more})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def with_code_of_its_own(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoConfig": "own.Config"}}))


def of_a_type_nobody_knows(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "unheard_of"}')


def that_classifies(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "vit"}')


def an_adapter(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


def with_a_smaller_vocabulary(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "vocab_size": 20}))


MISTAKES: list[tuple[Callable[[Path], None], str]] = [
    (
        pickled,
        "expected weights as safetensors in .*, found pytorch_model.bin, which may run code as it is read; where",
    ),
    (with_code_of_its_own, "expected a model whose code is in transformers, found auto_map in config.json"),
    (of_a_type_nobody_knows, "expected a config that transformers reads in .*unheard_of"),
    (that_classifies, "expected a causal language model, found one of type vit"),
    (an_adapter, "expected whole weights, found an adapter in .*: merge it into its base"),
    (
        lambda folder: (folder / "model.safetensors").unlink(),
        r"expected weights \(\*\.safetensors, or one \*\.gguf\) in",
    ),
    (with_a_smaller_vocabulary, "expected a tokenizer of the model's 20 tokens, found token"),
    (lambda folder: (folder / "config.json").unlink(), "expected config.json in"),
    (lambda folder: (folder / "config.json").write_text("{"), "expected JSON in"),
    (lambda folder: (folder / "tokenizer.json").write_text("{"), "expected a tokenizer that transformers reads in"),
]


@pytest.mark.parametrize(("spoil", "told"), MISTAKES)
def test_what_is_no_base_is_refused_in_one_line(own: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(own)
    with pytest.raises(UserError, match=told) as found:
        look(section(own), "x/round_00/policy")
    assert str(found.value).startswith("x/round_00/policy: models.policy.from: ")
    assert "\n" not in str(found.value)


def test_a_context_longer_than_the_model_was_made_for_is_refused(base: Path) -> None:
    with pytest.raises(UserError, match=f"models.policy.context: expected at most {CONTEXT}"):
        look(section(base, context=CONTEXT + 1), "x")


def test_a_template_is_the_checkpoint_s_own_or_a_file_s(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected none or a file, for the tokenizer in .* has no template"):
        look(section(own, chat_template="own"), "x")
    path = tmp_path / "template.jinja"
    path.write_text(CHATML)
    assert look(section(own, chat_template=str(path)), "x").template == CHATML
    assert look(section(own), "x").template == ""


def test_a_folder_in_which_a_file_is_none_is_one_line(own: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(own, tmp_path / "copy")
    (folder / "vocab.json").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"models.policy.from: expected files in .*, and vocab.json is none that can"):
        look(section(folder), "x")
    (folder / "vocab.json").unlink()
    os.mkfifo(folder / "vocab.json")  # nobody writes to it, and nobody waits for that
    with pytest.raises(UserError, match=r"vocab\.json is none that can be read"):
        look(section(folder), "x")
    (folder / "vocab.json").unlink()
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="expected JSON in "):
        look(section(folder), "x")


def test_a_template_that_is_a_pipe_is_not_waited_for(own: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"expected none, own or a file with a Jinja template: .* is no file"):
        look(section(own, chat_template=str(tmp_path / "pipe")), "x")


@pytest.mark.parametrize("text", ["{% for %}", "", "\xff"])
def test_a_file_that_is_no_template_is_one_line(own: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "template.jinja"
    path.write_bytes(text.encode("latin-1"))
    for name in (path, tmp_path / "none here"):
        with pytest.raises(UserError, match="expected none, own or a file with a Jinja template") as found:
            look(section(own, chat_template=str(name)), "x")
        assert "\n" not in str(found.value)


def test_the_licence_is_what_the_card_says_else_the_file_s_name(tmp_path: Path) -> None:
    assert licence_of(tmp_path) == ""
    (tmp_path / "LICENSE.txt").write_text("as it is")
    assert licence_of(tmp_path) == "LICENSE.txt"
    (tmp_path / "README.md").write_text("---\ntags: [a]\nlicense: apache-2.0\n---\nlicense: mit\n")
    assert licence_of(tmp_path) == "apache-2.0"


def test_weights_in_parts_are_a_base_too(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    whole = checkpoint(tmp_path / "whole", "llama")
    model = AutoModelForCausalLM.from_pretrained(whole)
    parts = Path(shutil.copytree(whole, tmp_path / "parts"))
    (parts / "model.safetensors").unlink()
    model.save_pretrained(parts, max_shard_size="50KB")
    told = look(section(parts), "x")
    assert len([name for name in told.files if name.endswith(".safetensors")]) > 1
    weights = Weights(parts, None, "", told)
    read = weights.model(AutoModelForCausalLM, "float32")
    assert all(torch.equal(tensor, read.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_tokenizer_that_transformers_reads_as_another_is_refused(tmp_path: Path) -> None:
    """Of a Qwen2 they read the Qwen2 tokenizer, whatever stands there: bytes have no token in it."""
    with pytest.raises(UserError, match=r"from: expected a tokenizer that (encodes text|transformers reads)"):
        look(section(checkpoint(tmp_path / "base", "qwen2", "slow")), "x")
