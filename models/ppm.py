"""The process preference model (PPM; rStar-Math, section 3.3): a policy with a scalar head.

The score is read at the last token. Trained pairwise (`models/pairwise.py`) with TRL's `RewardTrainer`, re-initialised
from the round's policy; the scale of what is served stands in the checkpoint's config. An over-long pair is an error,
never cut: cutting would lose the step to be scored. Without pairs there is nothing to learn: such a PPM is written
untrained, its config says so, and no scorer opens it, for its scores would mean nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import eq
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast, set_seed
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from models.attempt import Attempt
from models.embedded import EmbeddedModel, Tokens
from models.pairwise import pairwise_loss, served
from models.tokenizer import save_tokenizer
from models.training import WatchedSteps, arguments, fit, loss_curve, refuse_overlong, warm_up
from perseid import experiment
from perseid.engine import Prompt
from perseid.errors import UserError
from perseid.training import PpmTraining


class PpmScorer(EmbeddedModel):
    """A `Scorer` over a folder that `train_ppm` wrote. What siblings share, the question and the steps before, is
    computed once a call. Raises `UserError` for one that was not trained."""

    def __init__(self, folder: Path, settings: experiment.Engine) -> None:
        super().__init__(AutoModelForSequenceClassification, folder, settings)
        if getattr(self.model.config, "ppm_untrained", False):
            raise UserError(folder, "ppm", "expected a PPM that was trained; there were no pairs for this one")

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]:
        """One score a prefix, in (-1, 1)."""
        return self.score_now(prefixes)

    def score_now(self, prefixes: Sequence[Prompt]) -> list[float]:
        """`score`, without an event loop."""
        ids = self.encoded(prefix.text for prefix in prefixes)
        scores: dict[Tokens, float] = {}
        for siblings in _batches(_siblings(ids.values()), self.batch):
            scores |= self._score(siblings)
        return [scores[ids[prefix.text]] for prefix in prefixes]

    @torch.inference_mode()
    def _score(self, siblings: Sequence["_Siblings"]) -> dict[Tokens, float]:
        """Each stem once, then every tail after its stem's keys and values."""
        rows = [(number, member) for number, some in enumerate(siblings) for member in some.members]
        stems = [some.stem for some in siblings]
        _, cache, mask, _ = self.prefill(self.model.base_model, stems, [number for number, _ in rows])
        tails = self.tokenizer.pad(
            {"input_ids": [list(member[len(stems[number]) :]) for number, member in rows]},
            padding_side="right",
            return_tensors="pt",
        ).to(self.device)
        mask = torch.cat([mask, tails["attention_mask"]], dim=1)
        positions = (mask.cumsum(1) - 1)[:, -tails["input_ids"].shape[1] :]
        logits = self.model(
            input_ids=tails["input_ids"], attention_mask=mask, position_ids=positions, past_key_values=cache
        ).logits[:, 0]
        scores = served(logits, self.model.config.ppm_scale).tolist()
        return dict(zip((member for _, member in rows), scores, strict=True))


@dataclass(frozen=True)
class _Siblings:
    """Sequences that begin with `stem` and go on for at least one token."""

    stem: Tokens
    members: Sequence[Tokens]


def _siblings(sequences: Iterable[Tokens]) -> list[_Siblings]:
    """Neighbours in the order of their tokens that share more than half, by length of the stem."""
    groups: list[_Siblings] = []
    for sequence in sorted(set(sequences)):
        if groups:
            stem = groups[-1].stem
            shared = sum(takewhile(bool, map(eq, stem, sequence[:-1])))
            if 2 * shared > len(sequence):
                groups[-1] = _Siblings(stem[:shared], [*groups[-1].members, sequence])
                continue
        groups.append(_Siblings(sequence[:-1], [sequence]))
    return sorted(groups, key=lambda some: (len(some.stem), some.stem))


def _batches(groups: Sequence[_Siblings], size: int) -> Iterator[list[_Siblings]]:
    """Of at least `size` members, but for the last."""
    batch: list[_Siblings] = []
    count = 0
    for group in groups:
        batch.append(group)
        count += len(group.members)
        if count >= size:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def train_ppm(pairs: pl.DataFrame, policy: Path, settings: PpmTraining, out: Path, attempt: Attempt) -> pl.DataFrame:
    """Train a PPM from the policy in folder `policy` on `pairs` and write it to `out`.

    Args:
        pairs: columns `prompt`, `chosen`, `rejected`, `weight`, of the training split alone. Without any the PPM is
            written untrained.

    Returns:
        The loss curve: columns `step`, `loss` (nats a pair), `tokens`.

    Raises:
        UserError: a pair does not fit the context; the training diverges or does nothing.
    """
    set_seed(attempt.seed % 2**32)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(policy)
    model = AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1, dtype=torch.float32)
    model.config.ppm_scale = settings.scale
    torch.nn.init.normal_(model.score.weight, 5e-7, 1e-6)  # as the released code's head: all scores begin at 0
    if pairs.is_empty():
        model.config.ppm_untrained = True
        return _written(model, tokenizer, out, loss_curve([]))
    rows = [_encode(tokenizer, row) for row in pairs.iter_rows(named=True)]
    longest = [max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
    refuse_overlong(longest, model.config.max_position_embeddings, attempt)
    trainer = _PairTrainer(
        model=model,
        args=_arguments(settings, out, attempt, settings.epochs * -(-len(rows) // settings.batch)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        # TRL's collator carries one number a pair, `margin`: here it is the pair's weight.
        data_collator=DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
    )
    return _written(model, tokenizer, out, fit(trainer, attempt))


def _written(model: Any, tokenizer: PreTrainedTokenizerFast, out: Path, curve: pl.DataFrame) -> pl.DataFrame:
    model.save_pretrained(out)
    save_tokenizer(tokenizer, out)
    return curve


def _encode(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> dict[str, Any]:
    ids = {
        f"{side}_ids": tokenizer(row["prompt"] + row[side], add_special_tokens=False)["input_ids"]
        for side in ("chosen", "rejected")
    }
    return {**ids, "margin": float(row["weight"])}


class _PairTrainer(WatchedSteps, RewardTrainer):  # type: ignore[misc]
    """TRL's trainer with our loss, which knows the pair's weight."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # type: ignore[no-untyped-def]
        weight = inputs.pop("margin")
        outputs = model(**inputs, use_cache=False)
        chosen, rejected = torch.chunk(outputs.logits.squeeze(-1), chunks=2)
        loss = pairwise_loss(chosen, rejected, weight)
        return (loss, outputs) if return_outputs else loss


def _arguments(settings: PpmTraining, out: Path, attempt: Attempt, steps: int) -> RewardConfig:
    return RewardConfig(
        **arguments(attempt, out),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        warmup_steps=warm_up(steps, 2),
        max_length=None,
        logging_steps=min(5, steps),
    )
