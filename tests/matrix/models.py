"""Three tiny causal language models of other makes, as folders that `transformers` reads.

Random weights, trained for a moment to answer a question with a digit or a letter, right or not: so that a round of
either recipe finds something to verify, and something to prefer it to. One has a chat template, one a tokenizer in
Python alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.render import Renderer
from perseid.engine import Prompt

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
ALPHABET = "0123456789ABCDabcdefghijklmnopqrstuvwxyz QWPLRI+-*=?.,:()<>\n"
CONTEXT, STEPS, BATCH = 256, 60, 32


Taught = tuple[Prompt, str]  # what it is told, and what it then says


def made(name: str, folder: Path, taught: Sequence[Taught]) -> Path:
    """The model `name` of MODELS, which has learned for a moment to say this. Its folder."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = TOKENIZERS[name]()
    model = MODELS[name](len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    teach(model, tokenizer, taught)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def teach(model: Any, tokenizer: Any, taught: Sequence[Taught]) -> None:
    """A moment of training, the loss on the answer alone."""
    import torch

    renderer = Renderer(tokenizer, tokenizer.chat_template or "")
    prompts = [renderer.encode(prompt) for prompt, _ in taught]
    examples = [(told, told + renderer.encode_steps((text,))) for told, (_, text) in zip(prompts, taught, strict=True)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        rows = [examples[(step * BATCH + place) % len(examples)] for place in range(BATCH)]
        longest = max(len(ids) for _, ids in rows)
        ids = torch.tensor([ids + [tokenizer.pad_token_id] * (longest - len(ids)) for _, ids in rows])
        labels = torch.tensor(
            [[-100] * len(told) + ids[len(told) :] + [-100] * (longest - len(ids)) for told, ids in rows]
        )
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def _byte_level(template: str | None) -> Any:
    """A fast tokenizer of characters, with a chat template or none."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), Decoder()
    trainer = BpeTrainer(vocab_size=300, special_tokens=["<pad>", "<eos>"], initial_alphabet=ByteLevel.alphabet())
    tokenizer.train_from_iterator([ALPHABET], trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")
    made.chat_template = template
    return made


def _bytes() -> Any:
    from transformers import ByT5Tokenizer

    return ByT5Tokenizer()


def _llama(size: int, pad: int, eos: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, **heads}
    ids = {"pad_token_id": pad, "eos_token_id": eos, "bos_token_id": None}
    return LlamaForCausalLM(LlamaConfig(vocab_size=size, max_position_embeddings=CONTEXT, **sizes, **ids))


def _qwen2(size: int, pad: int, eos: int) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, **heads}
    ids = {"pad_token_id": pad, "eos_token_id": eos, "bos_token_id": None, "tie_word_embeddings": True}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=size, max_position_embeddings=CONTEXT, **sizes, **ids))


def _gpt2(size: int, pad: int, eos: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}
    ids = {"pad_token_id": pad, "eos_token_id": eos, "bos_token_id": eos}
    return GPT2LMHeadModel(GPT2Config(vocab_size=size, **sizes, **ids))


MODELS = {"llama": _llama, "qwen2": _qwen2, "gpt2": _gpt2}
TOKENIZERS = {"llama": lambda: _byte_level(None), "qwen2": lambda: _byte_level(TEMPLATE), "gpt2": _bytes}
