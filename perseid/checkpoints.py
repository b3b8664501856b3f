"""The section `models`: what each model is made from. `policy` has a kind each in `base`.

`tiny_llama` is made from nothing in round 0; `pretrained` is any causal language model that `transformers` reads, of a
folder or of the hub. The section says what to look for; whether it is there is for who opens it (`models/bases`).
"""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict, create_model, model_validator

from perseid.formats import ToolsFormat, WordedFormat, code_steps, tools
from perseid.mistakes import mistake
from perseid.section import DISCRIMINATOR, Section

MAX_PARAMETERS: Final = 1_000_000_000  # of one made from nothing, trained in float32: 16 bytes each
MAX_PATH: Final = 4096  # characters
Dtype = Literal["float32", "bfloat16", "float16"]


class TinyLlama(Section):
    """A Llama made from nothing in round 0, and a tokenizer made for the task with it."""

    base: Annotated[Literal["tiny_llama"], DISCRIMINATOR] = "tiny_llama"
    hidden_size: int = Field(128, ge=2, le=8192)  # a multiple of heads, and a head's share of it even
    layers: int = Field(2, ge=1, le=128)
    heads: int = Field(4, ge=1, le=128)
    vocab_size: int = Field(800, ge=264, le=65_536)  # at least the bytes, and the marks of the prompt
    context: int = Field(256, ge=16, le=8192)  # tokens
    format: ToolsFormat = tools.Settings()  # how it writes: its tokenizer is made for the marks of this one

    @model_validator(mode="after")
    def _a_llama_can_be_made(self) -> "TinyLlama":
        if self.hidden_size % (2 * self.heads):
            wanted = f"a multiple of {2 * self.heads}, twice the heads (rotary embeddings are pairs)"
            raise mistake("hidden_size", f"expected {wanted}, found {self.hidden_size}")
        if self.parameters > MAX_PARAMETERS:
            raise mistake("hidden_size", f"expected at most {MAX_PARAMETERS:,} parameters, found {self.parameters:,}")
        return self

    @property
    def parameters(self) -> int:
        """About how many: embedding, and in each layer attention and a feed-forward part of thrice the width."""
        return self.vocab_size * self.hidden_size + self.layers * 13 * self.hidden_size**2

    @property
    def lora(self) -> None:
        """All its weights are trained."""


class Lora(Section):
    """Low-rank adapters instead of all weights (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(32, ge=1, le=4096)
    alpha: int = Field(64, ge=1, le=1_000_000)  # an adapter counts alpha / rank
    targets: Annotated[
        tuple[str, ...], Strict(False), Field(max_length=1000)
    ] = ()  # (): every linear layer but the head
    dropout: float = Field(0.0, ge=0.0, lt=1.0)


def _place(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MAX_PATH or "://" in text:
        raise mistake("", "expected a folder, or a name of the hub like HuggingFaceTB/SmolLM2-135M-Instruct")
    return text


def _revision(text: str) -> str:
    if not re.fullmatch(r"[\w./-]{0,200}", text, re.ASCII):
        raise mistake("", "expected a branch, tag or commit of the hub's repository")
    return text


def _template(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MAX_PATH:
        raise mistake("", "expected none, own or a file with a Jinja template")
    return text


# A field that is called by one of Python's own words.
FROM: Final[dict[str, Any]] = {"from": (Annotated[str, AfterValidator(_place)], ...)}
_From = create_model("_From", __base__=Section, **FROM)


class Pretrained(_From):
    """A causal language model that there is already."""

    base: Annotated[Literal["pretrained"], DISCRIMINATOR] = "pretrained"
    revision: Annotated[str, AfterValidator(_revision)] = ""  # of a name of the hub; "" for its main branch
    # none: its messages stand as they are, one after the other; own: in its own template; or a file with another one
    chat_template: Annotated[str, AfterValidator(_template)] = "none"
    dtype: Dtype = "float32"  # of the weights, as they are held and written
    context: int = Field(2048, ge=16, le=10_000_000)  # tokens that it is trained on and asked with, at most
    lora: Lora | None = None  # none: all its weights are trained
    format: WordedFormat = code_steps.Settings()  # how it is asked, and how its answers are read

    def unreadable(self) -> tuple[str, str] | None:
        """What can be known of its chat template without a look at the model: the key, and what was expected."""
        if self.chat_template in ("none", "own") or Path(self.chat_template).is_file():
            return None
        found = "there is no such file from the project's root"
        return (
            "chat_template",
            f"expected none, own or a file with a Jinja template, found {self.chat_template}; {found}",
        )

    @property
    def place(self) -> str:
        """`from`: a folder, or a name of the hub."""
        return str(getattr(self, "from"))


def _base_named(value: Any) -> Any:
    return {"base": "tiny_llama", **value} if isinstance(value, dict) else value


Policy = Annotated[TinyLlama | Pretrained, Field(discriminator="base"), BeforeValidator(_base_named)]


class Models(Section):
    policy: Policy = TinyLlama()
