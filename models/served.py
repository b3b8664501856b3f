"""What MLflow loads of a registered checkpoint: `pyfunc.load_model("models:/quickstart-policy@champion")`.

A copy of this file goes with every registered version, so it stands alone: it needs torch and transformers (and peft
for an adapter), nothing of this repository, and unpickles nothing. A policy continues texts, greedily; a PPM scores
them, in (-1, 1). Texts are in the checkpoint's own format, special tokens and chat template included. A pretrained base
is looked for where `base.json` says: a folder from where the process runs, or the hub's cache; it is not hashed here.
This is a way to look at a checkpoint, one text at a time; search and evaluation use `models.engines`.
"""

import json
from pathlib import Path
from typing import Any

MAX_NEW_TOKENS = 256


def _load_pyfunc(folder: str) -> "Policy | Scorer":
    """Called by MLflow with the folder of the weights."""
    path = Path(folder)
    if (path / "ppm.json").exists():
        return Scorer(path)
    config = path / "config.json"
    architectures = json.loads(config.read_text()).get("architectures") if config.exists() else None
    scores = any(name.endswith("ForSequenceClassification") for name in architectures or [])
    return Scorer(path) if scores else Policy(path)


class Checkpoint:
    def __init__(self, folder: Path, architecture: str) -> None:
        import transformers

        said = folder / "base.json"
        told: dict[str, Any] = json.loads(said.read_text()) if said.exists() else {}
        own = any(path.name != "adapter_model.safetensors" for path in folder.glob("*.safetensors"))
        place: str | Path = folder if own else told["name"]
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        found = {} if own else {"revision": told["revision"], "gguf_file": told["gguf"]}
        local |= {key: value for key, value in found.items() if value}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(place, **local)
        more: dict[str, Any] = {} if local.get("gguf_file") else {"use_safetensors": True}
        if (folder / "ppm.json").exists():
            more["num_labels"] = 1
        self.model = getattr(transformers, architecture).from_pretrained(place, **more, **local)
        if not own and (folder / "adapter_model.safetensors").exists():
            from peft import PeftModel

            self.model = PeftModel.from_pretrained(self.model, folder).merge_and_unload()
        self.model.eval()

    def encoded(self, text: str) -> Any:
        return self.tokenizer(text, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)


class Policy(Checkpoint):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "AutoModelForCausalLM")

    def predict(self, texts: Any, params: dict[str, Any] | None = None) -> list[str]:
        """How each text goes on, up to `params["max_new_tokens"]` and what the context holds."""
        longest = int((params or {}).get("max_new_tokens", MAX_NEW_TOKENS))
        return [self._continued(text, longest) for text in texts_of(texts)]

    def _continued(self, text: str, longest: int) -> str:
        prompt = self.encoded(text)
        length = prompt["input_ids"].shape[1]
        room = min(longest, self.model.config.max_position_embeddings - length)
        if room <= 0 or not length:
            return ""
        made = self.model.generate(
            **prompt, max_new_tokens=room, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
        )
        return str(self.tokenizer.decode(made[0, length:], skip_special_tokens=False))


class Scorer(Checkpoint):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "AutoModelForSequenceClassification")
        self.model.config.pad_token_id = None  # else a text that ends in it would be read before its end
        about = folder / "ppm.json"
        said = json.loads(about.read_text()) if about.exists() else {}
        self.scale = float(said.get("ppm_scale", getattr(self.model.config, "ppm_scale", 1.0)))

    def predict(self, texts: Any, params: dict[str, Any] | None = None) -> list[float]:
        """What each text, a question and its steps so far, is worth."""
        import torch

        with torch.inference_mode():
            logits = [self.model(**self.encoded(text)).logits[0, 0] for text in texts_of(texts)]
            return [float(torch.tanh(logit / self.scale)) for logit in logits]


def texts_of(given: Any) -> list[str]:
    """A text, texts, or a table of one column."""
    if isinstance(given, str):
        return [given]
    column = given.iloc[:, 0] if hasattr(given, "iloc") and getattr(given, "ndim", 1) == 2 else given
    return [str(text) for text in column]
