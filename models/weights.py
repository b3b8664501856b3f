"""Which weights a checkpoint folder means: its own, those that it points to, or those with an adapter of its own.

A folder that was trained in full holds everything. A pretrained base is a pointer, `base.json`: its name, its revision,
the SHA-256 of each of its files, and how it is asked (chat template, context, dtype); nothing is copied. A LoRA
checkpoint is an adapter beside the same pointer. The files behind a pointer are hashed when it is opened, once a
process: a base that changed since is an error, for what was trained and measured would be of another one.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from models.checkpoint import POINTER, sha256_of, weights_hash
from models.render import Renderer, ends_in
from perseid.artifacts.disk import replace_file
from perseid.errors import UserError

ADAPTER: Final = "adapter_model.safetensors"
KEY: Final = "models.policy.from"
RANKS: Final = (8, 16, 32, 64, 128, 256, 320, 512)  # of adapters that vLLM keeps room for
UNBOUNDED: Final = 2**20  # tokens, of a model that names no longest text


@dataclass(frozen=True)
class Told:
    """What `base.json` says: where a checkpoint comes from, and how it is asked.

    name: a folder (from the project's root) or a name of the hub. revision: of the hub, a commit; "" for a folder.
    files: SHA-256 by name. licence: "" if unknown. template: the chat template, Jinja, "" for none. context: tokens.
    gguf: the file of quantised weights that the folder holds instead of safetensors, "" for none.
    """

    name: str
    revision: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""
    template: str = ""
    context: int = 0
    dtype: str = "float32"
    gguf: str = ""

    def write(self, folder: Path) -> None:
        replace_file(folder / POINTER, json.dumps(asdict(self), indent=1, sort_keys=True).encode())


@dataclass(frozen=True)
class Weights:
    """base: a folder with config, tokenizer and weights. adapter: a folder with a LoRA adapter on them, or None.

    identity: the content hash of the checkpoint. told: where it comes from; None for a model made from nothing.
    """

    base: Path
    adapter: Path | None
    identity: str
    told: Told | None = None

    @classmethod
    def of(cls, folder: Path) -> "Weights":
        """What a checkpoint folder means.

        Raises `UserError` for one without weights, and for a base that is not there or has changed.
        """
        folder, identity = Path(folder), weights_hash(folder)
        told, adapter = told_in(folder), folder if (folder / ADAPTER).exists() else None
        if adapter is None and any(folder.glob("*.safetensors")):
            return cls(folder, None, identity, told)
        if told is None:
            raise UserError(folder, POINTER, "expected it beside an adapter: it says what the adapter belongs to")
        return cls(checked(told), adapter, identity, told)

    @property
    def dtype(self) -> str:
        return self.told.dtype if self.told else "float32"

    @property
    def loading(self) -> dict[str, Any]:
        """What every `from_pretrained` of the base is told."""
        file = self.told.gguf if self.told else ""
        gguf = {"gguf_file": file} if file and (self.base / file).exists() else {}
        return {"local_files_only": True, "trust_remote_code": False, **gguf}

    def tokenizer(self) -> Any:
        """The base's tokenizer, fast or slow."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.base, **self.loading)

    def renderer(self) -> Renderer:
        return Renderer(self.tokenizer(), self.told.template if self.told else "", ends_in(self.base))

    def model(self, auto: Any, dtype: str, **more: Any) -> Any:
        """The base as a model of `auto`, a class of `transformers`, in `dtype`, without its adapter."""
        import torch

        held = {"dtype": getattr(torch, dtype), **more}
        if "gguf_file" not in self.loading:
            return auto.from_pretrained(self.base, use_safetensors=True, **self.loading, **held)
        from transformers import AutoConfig

        read = auto.from_pretrained(self.base, **self.loading, **held)
        config = AutoConfig.from_pretrained(self.base, **self.loading, **more)
        model = auto.from_config(
            config, dtype=read.dtype
        )  # what was read is marked as quantised, and could not be saved
        model.load_state_dict(read.state_dict())
        model.generation_config = read.generation_config
        return model

    def context(self, config: Any) -> int:
        """Tokens of the longest text: what the model was made for, and no more than it is asked with."""
        bounds = [getattr(config, "max_position_embeddings", None), self.told.context if self.told else None]
        return min((int(bound) for bound in bounds if bound), default=UNBOUNDED)


def told_in(folder: Path) -> Told | None:
    """What `base.json` in a folder says, if it is there. Raises `UserError` where that is not understood."""
    path = folder / POINTER
    if not path.exists():
        return None
    try:
        return Told(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(path, "", f"expected what a pretrained base wrote: {error}") from error


def checked(told: Told) -> Path:
    """The folder of a base, each file as it was when it was pointed to. Raises `UserError` naming the first other."""
    folder = located(told.name, told.revision)
    for name, sha256 in told.files.items():
        path = folder / name
        if not path.is_file():
            raise UserError(path, KEY, "expected the file of the base: it was there when the base was made")
        if sha256_of(path) != sha256:
            expected = "expected the file as it was: it has changed, and what was trained rests on what it was"
            raise UserError(path, KEY, f"{expected}. Put it back, or name the other model under another --root")
    return folder


def located(name: str, revision: str = "", owner: str = "models") -> Path:
    """The folder of a base: itself, or the hub's, fetched where the hub may be reached. Raises `UserError`."""
    folder = Path(name)
    if folder.is_dir():
        if revision:
            raise UserError(owner, "models.policy.revision", "has no effect: `from` is a folder")
        return folder
    if folder.exists():
        raise UserError(owner, KEY, f"expected a folder, found the file {name}")
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError(owner, KEY, f"expected a folder or a name of the hub like owner/model; there is no {name} here")
    return _of_hub(name, revision, owner)


def _of_hub(name: str, revision: str, owner: str) -> Path:
    from huggingface_hub import snapshot_download

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.bpe", "README.md", "LICENSE*"]
    try:
        found = snapshot_download(name, revision=revision or None, allow_patterns=wanted, local_files_only=offline)
    except Exception as error:  # of the network, of the hub, of its cache: all say that the model is not to be had
        reason = "HF_HUB_OFFLINE is set" if offline else " ".join(str(error).split())[:160]
        put = "put its config.json, *.safetensors and tokenizer files into a folder and let `from` name that"
        raise UserError(owner, KEY, f"expected a folder {name}, or the hub within reach ({reason}): {put}") from error
    return Path(found)


def rank_of(adapter: Path) -> int:
    """The least rank that vLLM keeps room for and that an adapter fits into."""
    rank = int(json.loads((adapter / "adapter_config.json").read_text())["r"])
    return next((known for known in RANKS if known >= rank), rank)
