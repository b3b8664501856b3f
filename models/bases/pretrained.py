"""A base that there is already: a pointer to it is made, and nothing is copied.

Any causal language model whose config, weights and tokenizer `transformers` reads by itself. Weights are safetensors,
or one GGUF file that `transformers` reads (quantised weights, computed in float): a pickle may run code as it is read,
and so may a model that brings its own (`auto_map`); both are refused. Adapters alone are no base.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from models.attempt import Attempt
from models.checkpoint import sha256_of
from models.weights import KEY, Told, located
from perseid.checkpoints import Pretrained
from perseid.errors import UserError

TEMPLATE: Final = "models.policy.chat_template"
PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")
PINNED: Final = (".json", ".safetensors", ".gguf", ".model", ".txt", ".jinja", ".tiktoken", ".bpe")
MAX_TEMPLATE: Final = 1_000_000  # bytes


def point(base: Pretrained, out: Path, attempt: Attempt) -> Told:
    """Write the pointer of `base` into the folder `out`. Raises `UserError` for what is no base, with the way out."""
    told = look(base, attempt.artifact)
    out.mkdir(parents=True, exist_ok=True)
    told.write(out)
    return told


def look(base: Pretrained, owner: str) -> Told:
    """What there is of `base`, all of it checked without loading a weight. Raises `UserError` naming `owner`."""
    folder = located(base.place, base.revision, owner)
    for path in sorted(folder.iterdir()):
        if path.suffix in PINNED and not path.is_file():  # a link to nowhere; a pipe, of which no end may be read
            raise UserError(owner, KEY, f"expected files in {folder}, and {path.name} is none that can be read")
    gguf = _weights(folder, owner)
    config = _config(folder, gguf, owner)
    _fits(_tokenizer(folder, gguf, owner), config, owner)
    longest = getattr(config, "max_position_embeddings", None)
    if longest and base.context > longest:
        least = f"expected at most {longest}, what the model was made for, found {base.context}"
        raise UserError(owner, "models.policy.context", least)
    files = {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.suffix in PINNED}
    revision = folder.resolve().name if not Path(base.place).is_dir() else ""
    template = _template(base, folder, gguf, owner)
    return Told(base.place, revision, files, licence_of(folder), template, base.context, base.dtype, gguf)


def _weights(folder: Path, owner: str) -> str:
    """The GGUF file that holds the weights, "" where they are safetensors."""
    if any(path.name != "adapter_model.safetensors" for path in folder.glob("*.safetensors")):
        return ""
    found = sorted(path.name for path in folder.glob("*.gguf"))
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise UserError(owner, KEY, f"expected one GGUF file in {folder}, found {len(found)}: {', '.join(found)}"[:400])
    if (folder / "adapter_config.json").exists():
        raise UserError(
            owner, KEY, f"expected whole weights, found an adapter in {folder}: merge it into its base first"
        )
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        how = "AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(OTHER) writes safetensors"
        why = f"found {pickles[0]}, which may run code as it is read; where you trust it, transformers' {how}"
        raise UserError(owner, KEY, f"expected weights as safetensors in {folder}, {why}")
    raise UserError(owner, KEY, f"expected weights (*.safetensors, or one *.gguf) in {folder}, found none")


def _config(folder: Path, gguf: str, owner: str) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    for name in ("config.json", "tokenizer_config.json"):
        if "auto_map" in _json(folder / name, owner):
            why = f"found auto_map in {name}: this model brings its own, which is never run"
            raise UserError(owner, KEY, f"expected a model whose code is in transformers, {why}")
    if not gguf and not (folder / "config.json").exists():
        raise UserError(owner, KEY, f"expected config.json in {folder}, found none")
    with _readable(folder, gguf, "config", owner) as more:
        config = AutoConfig.from_pretrained(folder, **more)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        kind = getattr(config, "model_type", "unknown")
        raise UserError(owner, KEY, f"expected a causal language model, found one of type {kind}")
    return config


def _tokenizer(folder: Path, gguf: str, owner: str) -> Any:
    from transformers import AutoTokenizer

    with _readable(folder, gguf, "tokenizer", owner) as more:
        return AutoTokenizer.from_pretrained(folder, **more)


def _fits(tokenizer: Any, config: Any, owner: str) -> None:
    """A tokenizer of another model may be read, and mean nothing."""
    ids = list(tokenizer("1 + 2 = 3", add_special_tokens=False)["input_ids"])
    if not ids:
        raise UserError(owner, KEY, f"expected a tokenizer that encodes text, found {type(tokenizer).__name__}: none")
    known = getattr(config.get_text_config(), "vocab_size", None) or len(tokenizer)
    highest = max(*ids, tokenizer.eos_token_id or 0, tokenizer.bos_token_id or 0)
    if highest >= known:
        raise UserError(owner, KEY, f"expected a tokenizer of the model's {known} tokens, found token {highest}")


@contextmanager
def _readable(folder: Path, gguf: str, what: str, owner: str) -> Iterator[dict[str, Any]]:
    """What `from_pretrained` is told; its failure becomes one line."""
    try:
        yield {"local_files_only": True, "trust_remote_code": False} | ({"gguf_file": gguf} if gguf else {})
    except Exception as error:  # of `transformers`, of the readers below it: whatever a file may hold
        reason = " ".join(str(error).split())[:200]
        raise UserError(owner, KEY, f"expected a {what} that transformers reads in {folder}: {reason}") from error


def _template(base: Pretrained, folder: Path, gguf: str, owner: str) -> str:
    """The chat template in full; "" for none."""
    if base.chat_template == "none":
        return ""
    if base.chat_template == "own":
        own = _tokenizer(folder, gguf, owner).chat_template
        own = own.get("default") if isinstance(own, dict) else own
        if not own:
            raise UserError(owner, TEMPLATE, f"expected none or a file, for the tokenizer in {folder} has no template")
        return str(own)
    return template_in(Path(base.chat_template), owner)


def template_in(path: Path, owner: str) -> str:
    """A Jinja template in a file of the user's. Raises `UserError` where it cannot be read or compiled."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        if path.exists() and not path.is_file():  # of a device or a pipe no end may be read
            raise ValueError(f"{path} is no file")
        with path.open("rb") as file:
            text = file.read(MAX_TEMPLATE + 1).decode()
        if not text.strip() or len(text) > MAX_TEMPLATE:
            raise ValueError(f"expected text of at most {MAX_TEMPLATE:,} bytes")
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(text)
    except (OSError, ValueError, TemplateError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(owner, TEMPLATE, f"expected none, own or a file with a Jinja template: {reason}") from error
    return text


def licence_of(folder: Path) -> str:
    """The licence that a folder's README names in its head, else the name of a licence file; "" if neither is there."""
    for line in _front(folder / "README.md"):
        if match := re.fullmatch(r"license:\s*[\"']?([\w.+-]{1,64})[\"']?\s*", line):
            return match[1]
    return next((path.name for path in sorted(folder.glob("LICEN[CS]E*"))), "")


def _front(readme: Path) -> Iterator[str]:
    """The lines between the first two lines of dashes."""
    try:
        lines = readme.read_text(errors="replace")[:20_000].splitlines()
    except OSError:
        return
    if lines[:1] == ["---"]:
        for line in lines[1:]:
            if line == "---":
                return
            yield line


def _json(path: Path, owner: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(owner, KEY, f"expected JSON in {path}: {error}") from error
    return found if isinstance(found, dict) else {}
