"""Supervised fine-tuning (SFT) of the policy, in every round from the base (rStar-Math, section 3.4.1).

TRL's `SFTTrainer`, loss on the response alone; the head of the vocabulary is computed in tiles, so that a large one
costs no memory. Prompt and steps are encoded as they are when the policy is asked (`models/render.py`), labels go by
their length. An example that is longer than the context is left out and counted, never cut: cutting would lose the very
tail that is learnt. Budgets are optimiser steps or epochs, never seconds. The same examples, settings and seed on the
same machine give the same weights, killed and resumed or not.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from datasets import Dataset
from transformers import AutoModelForCausalLM, set_seed
from trl import SFTConfig, SFTTrainer

from models import adapters
from models.attempt import Attempt
from models.examples import Example, Trained
from models.render import Renderer
from models.tokenizer import save_tokenizer
from models.training import WatchedSteps, arguments, fit, fitting, optimiser_steps, padding, warm_up
from models.weights import Weights
from perseid.checkpoints import Lora
from perseid.errors import UserError
from perseid.training import SupervisedTraining

SPECIAL: Final = ("bos_token_id", "eos_token_id", "pad_token_id")
IGNORED: Final = -100  # a label that the loss does not look at


def train_policy(
    examples: Sequence[Example],
    start: Path,
    settings: SupervisedTraining,
    lora: Lora | None,
    out: Path,
    attempt: Attempt,
) -> Trained:
    """Fine-tune the checkpoint in folder `start` on `examples` and write what comes of it to `out`.

    Args:
        lora: adapters to train instead of all weights; then `out` holds them alone, and the pointer to their base.

    Raises:
        UserError: no example fits the context, or one teaches nothing; the training diverges or does nothing.
    """
    weights = Weights.of(start)
    model = adapters.merged(weights, AutoModelForCausalLM, weights.dtype if lora else "float32")
    context = weights.context(model.config)
    rows, left_out = _rows(examples, weights.renderer(), min(context, settings.max_tokens or context), attempt)
    if lora is not None:
        set_seed(attempt.seed % 2**32)
        model = adapters.adapted(model, lora, attempt.artifact)
    steps = settings.steps if not settings.epochs else settings.epochs * optimiser_steps(len(rows), settings.batch)
    kept = said_by(model)
    trainer = _PolicyTrainer(
        model=model,
        args=_arguments(settings, steps, out, attempt),
        train_dataset=Dataset.from_list(rows),
        processing_class=padding(weights.tokenizer()),
    )
    curve = fit(trainer, attempt)
    say(trainer.model, kept)
    _write(trainer.model, weights, lora is not None, out)
    return Trained(curve, left_out)


class _PolicyTrainer(WatchedSteps, SFTTrainer):  # type: ignore[misc]
    pass


def _write(model: Any, weights: Weights, adapter: bool, out: Path) -> None:
    """An adapter with its pointer, or everything: in the base's dtype, with what it says of where it comes from."""
    if adapter:
        assert weights.told is not None, "only a pretrained base has adapters"
        adapters.write(model, weights.told, out)
        return
    write_whole(model, weights, out)


def said_by(model: Any) -> dict[tuple[str, str], Any]:
    """Which tokens a model says begin, end and fill a text; a `Trainer` puts its tokenizer's in their place."""
    configs = {"config": model.config, "generation_config": getattr(model, "generation_config", None)}
    return {(name, key): getattr(c, key, None) for name, c in configs.items() if c is not None for key in SPECIAL}


def say(model: Any, kept: dict[tuple[str, str], Any]) -> None:
    for (name, key), value in kept.items():
        setattr(getattr(model, name), key, value)


def write_whole(model: Any, weights: Weights, out: Path) -> None:
    """A folder that `transformers` reads by itself, and the pointer to what it was made of."""
    import torch

    model.to(getattr(torch, weights.dtype)).save_pretrained(out)
    save_tokenizer(weights.tokenizer(), out)
    if weights.told is not None:
        weights.told.write(out)


def _rows(
    examples: Sequence[Example], renderer: Renderer, longest: int, attempt: Attempt
) -> tuple[list[dict[str, list[int]]], tuple[int, ...]]:
    """As often as they weigh those that fit, and the positions of the others."""
    encoded = [encode(renderer, example) for example in examples]
    left_out = fitting([len(row["input_ids"]) for row in encoded], longest, attempt)
    both = enumerate(zip(encoded, examples, strict=True))
    kept = [(row, round(example.weight)) for place, (row, example) in both if place not in left_out]
    untaught = sum(all(label == IGNORED for label in row["labels"][1:]) for row, _ in kept)
    if untaught:
        told = f"expected a response in every example, {untaught} of {len(examples)} have nothing to learn"
        raise UserError(attempt.artifact, attempt.section, told)
    rows = [row for row, times in kept for _ in range(times)]
    if not rows:
        raise UserError(attempt.artifact, attempt.section, "expected examples to train on, found none")
    return rows, tuple(sorted(left_out))


def encode(renderer: Renderer, example: Example) -> dict[str, list[int]]:
    """Token ids and labels, `IGNORED` where the loss does not look."""
    head, tail = renderer.encode(example.prompt), renderer.encode_steps(example.steps)
    return {"input_ids": head + tail, "labels": [IGNORED] * len(head) + tail}


def _arguments(settings: SupervisedTraining, steps: int, out: Path, attempt: Attempt) -> SFTConfig:
    return SFTConfig(
        **arguments(settings, attempt, out),
        max_steps=steps,
        warmup_steps=warm_up(steps, settings.warm_up),
        max_grad_norm=1.0,
        adam_beta2=0.98,
        train_sampling_strategy="group_by_length",
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=min(10, steps),
        loss_type="nll",
    )
