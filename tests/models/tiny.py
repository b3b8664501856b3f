"""Tiny checkpoints of other architectures, as a user may bring them: random weights, a tokenizer of their own."""

from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

ARCHITECTURES: Final = ("llama", "qwen2", "gpt2")
CONTEXT: Final = 256
CHATML: Final = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS: Final = [
    f"Question: what is {a} + {b}?\nAnswer:\n# add\nx = {a} + {b}\nprint(x)\n" for a in range(9) for b in "27"
]


def fast(template: str = "") -> PreTrainedTokenizerFast:
    """Byte-level BPE. What ends a text fills a batch too, as in SmolLM2, GPT-2 and many a Llama."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    eos = "<|im_end|>" if template else "<|endoftext|>"
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=eos)
    made.chat_template = template or None
    return made


def beginning(template: str = "") -> PreTrainedTokenizerFast:
    """As Llama's: it puts a token before every text, and a blank, which words begin with, before every piece of it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    split = pre_tokenizers.Split("\n", "isolated")  # a line's end is a token of its own, as one byte is Llama's
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)]
    )
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    ascii_letters = [chr(code) for code in (10, *range(32, 127))]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=ascii_letters, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    made.chat_template = template or None
    return made


def slow(template: str = "") -> Any:
    """One without a fast twin: bytes, in Python."""
    made = ByT5Tokenizer()
    made.chat_template = template or None
    return made


TOKENIZERS: Final = {"fast": fast, "beginning": beginning, "slow": slow}


def checkpoint(folder: Path, architecture: str, tokenizer: str = "fast", template: str = "", heads: int = 2) -> Path:
    """Write one: 2 layers of width 64, weights drawn from a seed."""
    made = TOKENIZERS[tokenizer](template)
    sizes = {"vocab_size": len(made) + 3, "eos_token_id": made.eos_token_id, "bos_token_id": made.bos_token_id}
    torch.manual_seed(7)
    model: Any
    if architecture == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=heads, n_positions=CONTEXT, **sizes))
    else:
        wide = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": heads}
        wide |= {"max_position_embeddings": CONTEXT, "num_key_value_heads": 1, **sizes}
        llama = architecture == "llama"
        model = LlamaForCausalLM(LlamaConfig(**wide)) if llama else Qwen2ForCausalLM(Qwen2Config(**wide))
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
