"""What MLflow loads of a registered checkpoint: `pyfunc.load_model("models:/quickstart-policy@champion")`.

A copy of this file goes with every registered version, so it stands alone: it needs torch and transformers, nothing of
this repository, and unpickles nothing. A policy continues texts, greedily; a PPM scores them, in (-1, 1). Texts are in
the checkpoint's own format, special tokens included. This is a way to look at a checkpoint, one text at a time; search
and evaluation use `models.engines`.
"""

from pathlib import Path
from typing import Any

MAX_NEW_TOKENS = 256


def _load_pyfunc(folder: str) -> "Policy | Scorer":
    """Called by MLflow with the folder of the weights."""
    from transformers import AutoConfig

    architectures = AutoConfig.from_pretrained(folder, local_files_only=True).architectures or []
    scores = any(name.endswith("ForSequenceClassification") for name in architectures)
    return Scorer(Path(folder)) if scores else Policy(Path(folder))


class Checkpoint:
    def __init__(self, folder: Path, architecture: str) -> None:
        import transformers

        local: dict[str, Any] = {"local_files_only": True}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
        self.model = getattr(transformers, architecture).from_pretrained(folder, use_safetensors=True, **local).eval()

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

    def predict(self, texts: Any, params: dict[str, Any] | None = None) -> list[float]:
        """What each text, a question and its steps so far, is worth."""
        import torch

        scale = float(getattr(self.model.config, "ppm_scale", 1.0))
        with torch.inference_mode():
            return [
                float(torch.tanh(self.model(**self.encoded(text)).logits[0, 0] / scale)) for text in texts_of(texts)
            ]


def texts_of(given: Any) -> list[str]:
    """A text, texts, or a table of one column."""
    if isinstance(given, str):
        return [given]
    column = given.iloc[:, 0] if hasattr(given, "iloc") and getattr(given, "ndim", 1) == 2 else given
    return [str(text) for text in column]
