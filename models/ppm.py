"""The process preference model (PPM; rStar-Math, section 3.3): a policy with a scalar head, trained on pairs.

The score is read at the last token. Trained pairwise (`models/pairwise.py`) with TRL's `RewardTrainer`, from the
round's policy: all its weights, or its adapter with a head beside it. The scale of what is served stands in the
checkpoint. A pair that is longer than the context is left out and counted, never cut: cutting would lose the step to be
scored. Without pairs there is nothing to learn: such a PPM is written untrained, says so, and no scorer opens it, for
its scores would mean nothing.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, set_seed
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from models import adapters
from models.attempt import Attempt
from models.examples import Pair, Trained
from models.pairwise import pairwise_loss
from models.render import Renderer
from models.sft import said_by, say, write_whole
from models.training import WatchedSteps, arguments, fit, fitting, loss_curve, optimiser_steps, padding, warm_up
from models.weights import Weights
from perseid.checkpoints import Lora
from perseid.errors import UserError
from perseid.training import PpmTraining


def train_ppm(
    pairs: Sequence[Pair], policy: Path, settings: PpmTraining, lora: Lora | None, out: Path, attempt: Attempt
) -> Trained:
    """Train a PPM from the policy in folder `policy` on `pairs` and write it to `out`.

    Args:
        pairs: of the training split alone. Without any the PPM is written untrained.
        lora: adapters to train, which begin as the policy's; then `out` holds them and the head alone.

    Raises:
        UserError: no pair fits the context; the training diverges or does nothing; the architecture has no such head.
    """
    set_seed(attempt.seed % 2**32)
    weights = Weights.of(policy)
    model = _headed(weights, lora, attempt)
    about = {"ppm_scale": settings.scale}
    if not pairs:
        _write(model, weights, {**about, "ppm_untrained": True}, out)
        return Trained(loss_curve([]))
    tokenizer, context = padding(weights.tokenizer()), weights.context(model.config)
    encoded = _encoded(weights.renderer(), pairs)
    longest = [max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in encoded]
    left_out = fitting(longest, min(context, settings.max_tokens or context), attempt)
    rows = [row for position, row in enumerate(encoded) if position not in left_out]
    kept, pad = said_by(model), _pad(tokenizer.pad_token_id, rows)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)  # trainers put it into the model's config
    trainer = _PairTrainer(
        model=model,
        args=_arguments(settings, out, attempt, settings.epochs * optimiser_steps(len(rows), settings.batch)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        # TRL's collator carries one number a pair, `margin`: here it is the pair's weight.
        data_collator=DataCollatorForPreference(pad_token_id=pad),
    )
    curve = fit(trainer, attempt)
    say(trainer.model, kept)
    _write(trainer.model, weights, about, out)
    return Trained(curve, tuple(sorted(left_out)))


def _headed(weights: Weights, lora: Lora | None, attempt: Attempt) -> Any:
    """The policy with a head whose scores all begin at 0; with `lora` its adapters are trained, else all of it."""
    try:
        model = weights.model(AutoModelForSequenceClassification, weights.dtype if lora else "float32", num_labels=1)
    except ValueError as error:  # there is no such class for the architecture
        raise _headless(attempt) from error
    if not isinstance(getattr(model, adapters.HEAD, None), torch.nn.Linear):
        raise _headless(attempt)
    torch.nn.init.normal_(model.score.weight, 5e-7, 1e-6)  # as the released code's head
    if lora is not None:
        model = adapters.adapted(model, lora, attempt.artifact, head=True)
        if weights.adapter is not None:
            adapters.begun_from(model, weights.adapter)
    return model


def _headless(attempt: Attempt) -> UserError:
    expected = "expected an architecture to which transformers knows a scalar head; a recipe without a PPM takes any"
    return UserError(attempt.artifact, "models.policy.from", expected)


def _write(model: Any, weights: Weights, about: dict[str, Any], out: Path) -> None:
    """All of it, and what it says of itself in its config; or its adapter, its head and a file that says it."""
    if not hasattr(model, "peft_config"):
        for name, value in about.items():
            setattr(model.config, name, value)
        write_whole(model, weights, out)
        return
    assert weights.told is not None, "only a pretrained base has adapters"
    adapters.write(model, weights.told, out)
    (out / adapters.PPM).write_text(json.dumps(about, sort_keys=True))


def _encoded(renderer: Renderer, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    return [
        {
            "chosen_ids": renderer.encode(pair.prompt) + renderer.encode_steps(pair.chosen),
            "rejected_ids": renderer.encode(pair.prompt) + renderer.encode_steps(pair.rejected),
            "margin": float(pair.weight),
        }
        for pair in pairs
    ]


def _pad(own: int, rows: Sequence[dict[str, Any]]) -> int:
    """A token to pad with at which no row ends: the models with a head take the last other one to be the end."""
    last = {row[side][-1] for row in rows for side in ("chosen_ids", "rejected_ids")}
    return own if own not in last else next(token for token in range(len(last) + 1) if token not in last)


class _PairTrainer(WatchedSteps, RewardTrainer):  # type: ignore[misc]
    """TRL's trainer with our loss, which knows the pair's weight."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        assert model.config.pad_token_id == self.data_collator.pad_token_id, "a score would be read beside its text"
        weight = inputs.pop("margin")
        outputs = model(**inputs, use_cache=False)
        chosen, rejected = torch.chunk(outputs.logits.squeeze(-1).float(), chunks=2)
        loss = pairwise_loss(chosen, rejected, weight)
        return (loss, outputs) if return_outputs else loss


def _arguments(settings: PpmTraining, out: Path, attempt: Attempt, steps: int) -> RewardConfig:
    return RewardConfig(
        **arguments(settings, attempt, out),
        num_train_epochs=settings.epochs,
        warmup_steps=warm_up(steps, settings.warm_up),
        max_length=None,
        logging_steps=min(5, steps),
    )
