"""The policy: a small Llama bootstrapped from nothing in round 0, and supervised fine-tuning from there in every round.

SFT is TRL's `SFTTrainer`, loss on the response alone, from the *base* each round (rStar-Math; spec, section 1.3). An
example that does not fit the context is an error, never cut: cutting would lose the very tail that is learnt. Budgets
are optimiser steps, never seconds, so that arms are comparable. The same examples, settings and seed on the same
machine give the same weights.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

from models.tokenizer import train_tokenizer
from perseid import experiment

Progress = Callable[[int, int], None]  # steps done, steps in all


def bootstrap(examples: pl.DataFrame, base: experiment.Base, delimiters: tuple[str, ...], out: Path, seed: int) -> None:
    """Write an untrained Llama and a tokenizer made from `examples` (columns prompt, response) into `out`."""
    texts = (examples["prompt"] + examples["response"]).to_list()
    tokenizer = train_tokenizer(texts, base.vocab_size, delimiters)
    set_seed(seed % 2**32)
    config = LlamaConfig(
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
    LlamaForCausalLM(config).save_pretrained(out)
    tokenizer.save_pretrained(out)


def train_policy(
    examples: pl.DataFrame,
    start: Path,
    settings: experiment.SupervisedTraining,
    out: Path,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> pl.DataFrame:
    """Fine-tune the policy in folder `start` on `examples` and write it to `out`.

    Args:
        examples: columns `prompt`, `response` and `weight`, the whole number of times an example stands in an epoch.

    Returns:
        The loss curve: columns `step`, `loss` (nats a token), `tokens` (seen up to the step).
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    rows = [
        row
        for prompt, response, weight in examples.select("prompt", "response", "weight").iter_rows()
        for row in [encode(tokenizer, prompt, response, model.config.max_position_embeddings)] * round(weight)
    ]
    trainer = SFTTrainer(
        model=model,
        args=_arguments(settings, out, seed),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[StepProgress(settings.steps, progress)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return loss_curve(trainer.state.log_history)


def encode(tokenizer: PreTrainedTokenizerFast, prompt: str, response: str, context: int) -> dict[str, list[int]]:
    """Token ids and labels, -100 where the loss does not look."""
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(response, add_special_tokens=False)["input_ids"]
    if len(head) + len(tail) > context:
        raise ValueError(
            f"an example of {len(head) + len(tail)} tokens does not fit the context of {context}: {prompt[:80]!r}"
        )
    return {"input_ids": head + tail, "labels": [-100] * len(head) + tail}


def _arguments(settings: experiment.SupervisedTraining, out: Path, seed: int) -> SFTConfig:
    return SFTConfig(
        output_dir=str(out),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, settings.steps // 20),
        weight_decay=0.1,
        max_grad_norm=1.0,
        adam_beta2=0.98,
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=10,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        loss_type="nll",
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        seed=seed % 2**32,
        data_seed=seed % 2**32,
    )


def loss_curve(history: list[dict[str, Any]]) -> pl.DataFrame:
    """A trainer's log as the table `training`: columns `step`, `loss`, `tokens`."""
    logged = [row for row in history if "loss" in row]
    return pl.DataFrame(
        {
            "step": [int(row["step"]) for row in logged],
            "loss": [float(row["loss"]) for row in logged],
            "tokens": [int(row.get("num_tokens", 0)) for row in logged],
        },
        schema={"step": pl.Int64, "loss": pl.Float64, "tokens": pl.Int64},
    )


class StepProgress(TrainerCallback):  # type: ignore[misc]
    """Tells `progress` after every optimiser step."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total, self.progress = total, progress

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.progress(state.global_step, self.total)
