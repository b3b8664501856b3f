"""A checkpoint as a folder that any other program takes: plain `transformers`, `vllm serve`, the hub.

Weights in full as safetensors, an adapter merged into its base; config, generation config, the tokenizer with the chat
template that the checkpoint was trained in (none, where it was trained without one: it knows no other), the base's
licence, and a card that says where it comes from. Nothing in it points elsewhere.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from models import adapters
from models.bases.pretrained import licence_of
from models.tokenizer import save_tokenizer
from models.weights import Weights
from perseid.errors import UserError

CARD = "README.md"


def export(checkpoint: Path, out: Path, title: str, facts: Mapping[str, str]) -> Path:
    """Write the policy in folder `checkpoint` into the new folder `out`, at once and whole.

    Args:
        title: of the card. facts: what it says of the checkpoint, by name: its experiment, round, version, scores.

    Raises `UserError` where `out` is there already, or the checkpoint's base is not.
    """
    if out.exists():
        raise UserError(out, "", "exists already; expected a new folder")
    weights = Weights.of(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        made = Path(folder) / out.name
        made.mkdir()
        _write(weights, made)
        _licence(weights, made)
        (made / CARD).write_text(card(title, weights, facts))
        for path in made.iterdir():  # safetensors are written for their owner alone
            path.chmod((made / CARD).stat().st_mode)
        made.rename(out)
    return out


def _write(weights: Weights, out: Path) -> None:
    from transformers import AutoModelForCausalLM

    adapters.merged(weights, AutoModelForCausalLM, weights.dtype).save_pretrained(out)
    tokenizer = weights.tokenizer()
    tokenizer.chat_template = (weights.told.template if weights.told else "") or None
    save_tokenizer(tokenizer, out)


def _licence(weights: Weights, out: Path) -> None:
    for path in sorted(weights.base.glob("LICEN[CS]E*")) + sorted(weights.base.glob("NOTICE*")):
        shutil.copyfile(path, out / path.name)


def card(title: str, weights: Weights, facts: Mapping[str, str]) -> str:
    """The card, Markdown with the head that the hub reads."""
    told = weights.told
    licence = (told.licence if told else "") or licence_of(weights.base)
    head = ["library_name: transformers", "pipeline_tag: text-generation"]
    if told and "/" in told.name and not Path(told.name).exists():
        head.append(f"base_model: {told.name}")
    if licence and not licence.upper().startswith("LICEN"):
        head.append(f"license: {licence}")
    base = "made from nothing by the experiment"
    if told:
        base = told.name + (f", revision {told.revision}" if told.revision else "")
    lines = {"base": base, "licence of the base": licence or "not known: ask whom the base comes from", **facts}
    body = [f"- {name}: {' '.join(str(value).split())}" for name, value in lines.items()]
    how = "with the chat template in this folder."
    if not (told and told.template):
        how = "without a chat template: its prompts are plain text, as the experiment's format writes them."
    return "\n".join(["---", *head, "---", "", f"# {title}", "", *body, "", f"It was trained {how}", ""])
