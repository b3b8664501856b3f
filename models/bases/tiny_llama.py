"""A small Llama made from nothing, and the tokenizer made for the task with it: the base of round 0."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from models.attempt import Attempt
from models.examples import Example
from models.tokenizer import save_tokenizer, train_tokenizer
from perseid.checkpoints import TinyLlama
from perseid.errors import UserError


def bootstrap(
    examples: Sequence[Example], base: TinyLlama, delimiters: tuple[str, ...], out: Path, attempt: Attempt
) -> None:
    """Write an untrained Llama and a tokenizer made from the texts of `examples` into `out`.

    Raises `UserError` when no model of these sizes can be built and run.
    """
    texts = ["".join((example.prompt.text, *example.steps)) for example in examples]
    tokenizer = train_tokenizer(texts, base.vocab_size, delimiters)
    if len(tokenizer) > base.vocab_size:
        least = f"expected at least {len(tokenizer)}, the bytes and marks, found {base.vocab_size}"
        raise UserError(attempt.artifact, "models.policy.vocab_size", least)
    set_seed(attempt.seed % 2**32)
    try:
        model = LlamaForCausalLM(_config(base, tokenizer))
        with torch.no_grad():
            model(input_ids=torch.zeros((1, 2), dtype=torch.long))
    except Exception as error:  # the libraries' own types; nothing but the sizes can be wrong here
        reason = " ".join(str(error).split())[:200]
        raise UserError(attempt.artifact, "models.policy", f"expected sizes of a Llama that runs: {reason}") from error
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)


def _config(base: TinyLlama, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=base.hidden_size,
        intermediate_size=3 * base.hidden_size,
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.heads,
        max_position_embeddings=base.context,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
