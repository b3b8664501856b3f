"""LoRA (Hu et al. 2021, arXiv 2106.09685) with PEFT: adapters made, written, and merged into what they belong to."""

import json
from pathlib import Path
from typing import Any, Final

from models.weights import Told, Weights
from perseid.checkpoints import Lora
from perseid.errors import UserError

HEAD: Final = "score"  # the scalar head of a PPM, which is trained in full and stands beside the adapter
TARGETS: Final = "models.policy.lora.targets"
PPM: Final = "ppm.json"  # what a PPM's adapter says of itself; a whole checkpoint says it in its config


def merged(weights: Weights, auto: Any, dtype: str) -> Any:
    """The model of a checkpoint, its adapter (if it has one) added to its weights in memory.

    Added in float32 and then rounded to `dtype`, so that an adapter that was trained in float32 loses nothing before.
    """
    head = {"num_labels": 1} if weights.adapter and (weights.adapter / PPM).exists() else {}
    if weights.adapter is None:
        return weights.model(auto, dtype)
    import torch
    from peft import PeftModel

    model = weights.model(auto, "float32", **head)
    model = PeftModel.from_pretrained(model, weights.adapter).merge_and_unload()
    if head:
        for name, value in json.loads((weights.adapter / PPM).read_text()).items():
            setattr(model.config, name, value)
    return model.to(getattr(torch, dtype))


def adapted(model: Any, lora: Lora, artifact: str, head: bool = False) -> Any:
    """`model` with fresh adapters, drawn from torch's generator; with `head` its scalar head is trained beside them.

    Raises `UserError` where no layer is called as the settings say.
    """
    from peft import LoraConfig, TaskType, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS if head else TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) or "all-linear",
        modules_to_save=[HEAD] if head else None,
    )
    try:
        made = get_peft_model(model, config)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(artifact, TARGETS, f"expected names of its layers: {reason}") from error
    if not head and isinstance(made.get_output_embeddings(), BaseTunerLayer):
        raise UserError(artifact, TARGETS, "expected layers below the head: TRL computes the head without an adapter")
    return made


def begun_from(model: Any, adapter: Path) -> None:
    """Let the fresh adapters of `model` begin as those in a folder are: a PPM begins as its policy."""
    from peft import get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict

    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    before = load_peft_weights(str(adapter), device="cpu")
    assert {name for name in own if HEAD not in name} == set(before), "the adapters are of another shape"
    set_peft_model_state_dict(model, {**own, **before})


def write(model: Any, told: Told, out: Path) -> None:
    """The adapter alone, and the pointer to its base."""
    for config in model.peft_config.values():
        config.base_model_name_or_path, config.revision = told.name, told.revision or None
    model.save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)
    told.write(out)
