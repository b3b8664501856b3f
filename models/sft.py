"""Supervised fine-tuning (SFT) of the policy, in every round from the base (rStar-Math, section 3.4.1).

TRL's `SFTTrainer`, loss on the response alone. An
example that does not fit the context, or has no response to learn, is an error: cutting would lose the very tail that
is learnt. Budgets are optimiser steps, never seconds, so that arms are comparable. The same examples, settings and
seed on the same machine give the same weights, killed and resumed or not.
"""

from pathlib import Path
from typing import Final

import polars as pl
import torch
from datasets import Dataset
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from models.attempt import Attempt
from models.tokenizer import save_tokenizer
from models.training import WatchedSteps, arguments, fit, refuse_overlong, warm_up
from perseid.errors import UserError
from perseid.training import SupervisedTraining

IGNORED: Final = -100  # a label that the loss does not look at


def train_policy(
    examples: pl.DataFrame, start: Path, settings: SupervisedTraining, out: Path, attempt: Attempt
) -> pl.DataFrame:
    """Fine-tune the policy in folder `start` on `examples` and write it to `out`.

    Args:
        examples: columns `prompt`, `response` and `weight`, the whole number of times an example stands in an epoch.

    Returns:
        The loss curve: columns `step`, `loss` (nats a token), `tokens` (seen up to the step).

    Raises:
        UserError: the examples do not fit the context or teach nothing; the training diverges or does nothing.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    trainer = _PolicyTrainer(
        model=model,
        args=_arguments(settings, out, attempt),
        train_dataset=Dataset.from_list(_rows(examples, tokenizer, model.config.max_position_embeddings, attempt)),
        processing_class=tokenizer,
    )
    curve = fit(trainer, attempt)
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)
    return curve


class _PolicyTrainer(WatchedSteps, SFTTrainer):  # type: ignore[misc]
    pass


def _rows(
    examples: pl.DataFrame, tokenizer: PreTrainedTokenizerFast, context: int, attempt: Attempt
) -> list[dict[str, list[int]]]:
    rows = [
        row
        for prompt, response, weight in examples.select("prompt", "response", "weight").iter_rows()
        for row in [encode(tokenizer, prompt, response)] * round(weight)
    ]
    refuse_overlong([len(row["input_ids"]) for row in rows], context, attempt)
    untaught = sum(all(label == IGNORED for label in row["labels"][1:]) for row in rows)
    if untaught:
        told = f"expected a response in every example, {untaught} of {len(rows)} have nothing to learn"
        raise UserError(attempt.artifact, attempt.section, told)
    return rows


def encode(tokenizer: PreTrainedTokenizerFast, prompt: str, response: str) -> dict[str, list[int]]:
    """Token ids and labels, `IGNORED` where the loss does not look."""
    head = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    tail = tokenizer(response, add_special_tokens=False)["input_ids"]
    return {"input_ids": head + tail, "labels": [IGNORED] * len(head) + tail}


def _arguments(settings: SupervisedTraining, out: Path, attempt: Attempt) -> SFTConfig:
    return SFTConfig(
        **arguments(attempt, out),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        warmup_steps=warm_up(settings.steps, max(1, settings.steps // 20)),
        weight_decay=0.1,
        max_grad_norm=1.0,
        adam_beta2=0.98,
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=min(10, settings.steps),
        loss_type="nll",
    )
