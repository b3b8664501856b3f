"""What SFT and the pairwise training of the PPM share: steps that are watched, attempts that resume, results that hold.

A training stops at the first optimiser step whose loss or gradient norm is not finite. Its result counts when the
weights are finite, a further step could be taken from them, and body and head have moved: a training that did nothing
is a mistake of its settings. Each is a `UserError` that names the artifact and the setting, and nothing is published.
"""

import logging
import math
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import torch
from safetensors import SafetensorError
from torch.nn.utils import get_total_norm
from transformers import PrinterCallback, TrainerCallback

from models.attempt import Attempt, Progress
from models.resuming import Resuming, forget, newest, seal
from perseid.errors import UserError
from perseid.training import Optimised

LARGEST_RATE: Final = 1e36  # Adam's first update is ten times the rate, and float32 ends at 3.4e38

log = logging.getLogger(__name__)


def warm_up(steps: int, wanted: float) -> int:
    """Of `steps` optimiser steps, those in which the learning rate rises from 0: at most a quarter.

    wanted: so many, or below 1 that share of them, and then at least one. The first of them learns nothing, so a
    training of less than four steps has none.
    """
    asked = int(wanted) if wanted >= 1 else max(1, math.floor(steps * wanted + 1e-9)) if wanted else 0
    return min(asked, steps // 4)


def optimiser_steps(examples: int, batch: int) -> int:
    """Of one epoch; the last may be smaller."""
    return -(-examples // batch)


def padding(tokenizer: Any) -> Any:
    """`tokenizer` with a token to pad with: what is padded is known by its length, so any will do."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def fitting(lengths: Sequence[int], longest: int, attempt: Attempt) -> frozenset[int]:
    """Positions of the examples that are longer than `longest` tokens: they are left out, for none is ever cut.

    Raises `UserError` when there is no example, or none that fits.
    """
    if not lengths:
        raise UserError(attempt.artifact, attempt.section, "expected examples to train on, found none")
    over = frozenset(position for position, length in enumerate(lengths) if length > longest)
    if len(over) == len(lengths):
        told = f"all {len(lengths)} examples are longer than {longest} tokens, and none is cut"
        raise UserError(attempt.artifact, "models.policy.context", f"expected at least {min(lengths)}: {told}")
    if over:
        told = "%s: %d of %d examples are longer than %d tokens and are left out"
        log.warning(told, attempt.artifact, len(over), len(lengths), longest)
    return over


class WatchedSteps:
    """To be mixed into a `Trainer` before it is made whole by `fit`: its steps are checked, its checkpoints sealed."""

    attempt: Attempt
    resuming: Resuming
    _inputs: Mapping[str, Any]

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *others: Any, **more: Any) -> Any:
        self._inputs = dict(inputs)  # the losses take from `inputs` and add to it
        loss = super().training_step(model, inputs, *others, **more)  # type: ignore[misc]
        norm = get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
        for name, value in (("loss", float(loss)), ("norm of the gradient", float(norm))):
            if not math.isfinite(value):
                self.diverged(f"the {name} is {value}")
        return loss

    def step_again(self) -> None:
        """As if another step were to come, on the last batch: what the weights are now is checked like those before."""
        trainer: Any = self
        trainer.training_step(trainer.model, dict(self._inputs))

    def diverged(self, what: str) -> None:
        rate, total = self.args.learning_rate, self.state.max_steps  # type: ignore[attr-defined]
        when = f"at optimiser step {self._step() + 1} of {total}" if self._step() < total else f"after {total} steps"
        raise UserError(
            self.attempt.artifact,
            f"{self.attempt.section}.learning_rate",
            f"expected a rate with which training converges, found {rate:g}: {when} {what}",
        )

    def _step(self) -> int:
        return int(self.state.global_step)  # type: ignore[attr-defined]

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """None: a checkpoint under way is nobody's to read."""

    def _save_checkpoint(self, *args: Any) -> None:
        """A checkpoint that cannot be written costs a killed attempt its time, and this one nothing."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self._step()}"  # type: ignore[attr-defined]
        try:
            super()._save_checkpoint(*args)  # type: ignore[misc]
            seal(folder, self.resuming.epoch_began)
        except (OSError, RuntimeError, SafetensorError, UserError) as error:
            log.warning("%s: no checkpoint at step %d: %s", self.attempt.artifact, self._step(), error)
            shutil.rmtree(folder, ignore_errors=True)


def fit(trainer: Any, attempt: Attempt) -> pl.DataFrame:
    """Train, from the last checkpoint if there is one, and check what came of it; gives the loss curve.

    Args:
        trainer: a `Trainer` with `WatchedSteps`, made by `arguments` of this attempt.
    """
    if not trainer.args.learning_rate < LARGEST_RATE:
        rate = f"expected less than {LARGEST_RATE:g}, found {trainer.args.learning_rate:g}"
        raise UserError(attempt.artifact, f"{attempt.section}.learning_rate", rate)
    resumed = None if attempt.state is None else newest(attempt.state)
    trainer.attempt, trainer.resuming = attempt, Resuming(attempt.every_s, resumed)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StepProgress(attempt.progress))
    if attempt.state is not None:
        trainer.add_callback(trainer.resuming)
    if resumed is not None:
        trainer.add_callback(TokensSeen(trainer))
        log.info("%s: goes on from %s", attempt.artifact, resumed)
    start = {name: tensor.detach().clone() for name, tensor in _trainable(trainer.model)}
    try:
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
        _refuse_useless(trainer, start, attempt)
    except UserError:
        if attempt.state is not None:
            forget(attempt.state)
        raise
    return loss_curve(trainer.state.log_history)


def arguments(settings: Optimised, attempt: Attempt, out: Path) -> dict[str, Any]:
    """What both trainings tell their `Trainer`."""
    return {
        "output_dir": str(attempt.state or out),
        "save_strategy": "no",  # `Resuming` says when
        "per_device_train_batch_size": settings.batch // settings.accumulation,
        "gradient_accumulation_steps": settings.accumulation,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "lr_scheduler_type": settings.schedule,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": settings.precision == "bfloat16",
        "gradient_checkpointing": settings.checkpointing,
        "dataloader_pin_memory": False,
        "seed": attempt.seed % 2**32,
        "data_seed": attempt.seed % 2**32,
    }


def _refuse_useless(trainer: Any, start: Mapping[str, torch.Tensor], attempt: Attempt) -> None:
    if not all(bool(torch.isfinite(tensor).all()) for _, tensor in _trainable(trainer.model)):
        trainer.diverged("weights are not finite")
    trainer.step_again()
    moved: dict[str, bool] = defaultdict(bool)
    for name, tensor in _trainable(trainer.model):
        moved[_part_of(name)] |= _moved(start[name], tensor.detach())
    still = [group for group, any_moved in moved.items() if not any_moved]
    if still:
        found = f"found {trainer.args.learning_rate:g}: after {trainer.state.global_step} steps"
        raise UserError(
            attempt.artifact,
            f"{attempt.section}.learning_rate",
            f"expected a rate that moves the weights, {found} those of {', '.join(still)} are as they were",
        )


def _part_of(name: str) -> str:
    """Of a model or of its adapters: the head, or the rest."""
    first, _, rest = name.removeprefix("base_model.model.").partition(".")
    return first if "lora_" not in rest else "adapters"


def _moved(start: torch.Tensor, end: torch.Tensor) -> bool:
    """Whether a weight changed by more than the precision of a typical one: any rate moves those that were 0."""
    least = torch.finfo(start.dtype).eps * start.square().mean().sqrt()
    return bool((end.to(start.device) - start).abs().max() > least)


def _trainable(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return ((name, tensor) for name, tensor in model.named_parameters() if tensor.requires_grad)


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

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress(state.global_step, state.max_steps)


class TokensSeen(TrainerCallback):  # type: ignore[misc]
    """TRL's count of tokens goes on where the log left it: the trainer saves the log and not the count."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        counted = [row["num_tokens"] for row in state.log_history if "num_tokens" in row]
        self.trainer._total_train_tokens = int(counted[-1]) if counted else 0
