"""From a `Prompt` to the tokens of a checkpoint, in one place: engines, scorer and trainers all encode here.

What is told is text in the checkpoint's chat template, or, without one, its messages as they stand behind the token
with which the tokenizer begins a text. Every step of the answer is encoded by itself, so the tokens of a prefix never
depend on what follows it, and those that train are those that are asked with. `END` is the tokenizer's token that ends
a text. A tokenizer that puts a blank before whatever it encodes is kept from doing so inside an answer.

A text is read as its tokenizer reads it: a special token that a question spells is one.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from perseid.engine import END, Prompt
from perseid.errors import UserError

Tokens = tuple[int, ...]
REMEMBERED: Final = 200_000  # texts whose tokens are kept
ANCHOR: Final = "\n"  # what a step is encoded behind where the tokenizer adds a blank


class Renderer:
    """Tokens of prompts for one checkpoint.

    tokenizer: of `transformers`, fast or slow. template: the chat template, Jinja; "" for none.
    ends: tokens besides the tokenizer's own that end a text when they are generated.
    """

    def __init__(self, tokenizer: Any, template: str = "", ends: Iterable[int] = ()) -> None:
        self.tokenizer, self.template = tokenizer, template
        own = tokenizer.eos_token_id
        self.ends = tuple(dict.fromkeys([*([] if own is None else [own]), *ends]))
        self.special: dict[str, int] = tokenizer.added_tokens_encoder  # what is met as a token, not as text
        self._begins = self._head()
        self._anchor = self._anchored()
        self._told: dict[str, Tokens] = {}
        self._steps: dict[str, Tokens] = {}

    def encode(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt, the steps of its answer included. Raises `UserError` as its template does."""
        return list(self.encoded([prompt])[prompt])

    def encode_steps(self, steps: Sequence[str]) -> list[int]:
        """The tokens of steps, each by itself."""
        self._learn_steps(steps)
        return [token for step in steps for token in self._steps[step]]

    def encoded(self, prompts: Iterable[Prompt]) -> dict[Prompt, Tokens]:
        """The tokens of each distinct prompt; what many share is encoded once."""
        distinct = list(dict.fromkeys(prompts))
        self._forget()
        told = {prompt.messages: self._text(prompt._replace(steps=())) for prompt in distinct}
        self._learn(self._told, [text for text in told.values() if text not in self._told])
        self._learn_steps([step for prompt in distinct for step in prompt.steps])
        return {
            p: self._told[told[p.messages]] + tuple(token for step in p.steps for token in self._steps[step])
            for p in distinct
        }

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of generated tokens, special ones included."""
        return self.decoded([tokens])[0]

    def decoded(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """The texts of generated tokens, each as it goes on from what is before it."""
        whole = [[*self._anchor, *tokens] for tokens in sequences]
        texts = self.tokenizer.batch_decode(whole, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        before = len(ANCHOR) if self._anchor else 0
        return [text[before:] for text in texts]

    def _text(self, prompt: Prompt) -> str:
        if not self.template:
            return prompt.text
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        try:
            told = self.tokenizer.apply_chat_template(
                messages, chat_template=self.template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # whatever Jinja and the template itself raise
            reason = " ".join(str(error).split())[:200]
            raise UserError("models", "policy.chat_template", f"expected a template that takes it: {reason}") from error
        return str(told)

    def _head(self) -> Tokens:
        """What the tokenizer puts before a text that is told as it stands."""
        bare, whole = (self._ids(["a"], special)[0] for special in (False, True))
        at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
        return whole[:at]

    def _anchored(self) -> Tokens:
        """The tokens of `ANCHOR` where a text by itself is not encoded as it is inside another; () elsewhere."""
        anchor, alone, behind = self._ids([ANCHOR, "a", f"{ANCHOR}a"], False)
        return anchor if behind[: len(anchor)] == anchor and behind[len(anchor) :] != alone else ()

    def _learn(self, known: dict[str, Tokens], texts: Sequence[str]) -> None:
        begins = () if self.template else self._begins
        new = list(dict.fromkeys(texts))
        if new:
            known.update(zip(new, (begins + ids for ids in self._ids(new, False)), strict=True))

    def _learn_steps(self, steps: Sequence[str]) -> None:
        new = list(dict.fromkeys(step for step in steps if step not in self._steps))
        if not new:
            return
        if any(step.endswith(END) for step in new) and not self.ends:
            raise UserError("models", "policy.from", "expected a tokenizer with a token that ends a text; it has none")
        bodies = self._apart([step.removesuffix(END) for step in new])
        for step, body in zip(new, bodies, strict=True):
            self._steps[step] = body + (self.ends[:1] if step.endswith(END) else ())

    def _apart(self, texts: list[str]) -> list[Tokens]:
        """Behind the anchor, where there is one and it stays a token of its own."""
        if not self._anchor:
            return self._ids(texts, False)
        length = len(self._anchor)
        behind, alone = self._ids([ANCHOR + text for text in texts], False), self._ids(texts, False)
        return [b[length:] if b[:length] == self._anchor else a for b, a in zip(behind, alone, strict=True)]

    def _ids(self, texts: Sequence[str], special: bool) -> list[Tokens]:
        return [tuple(ids) for ids in self.tokenizer(list(texts), add_special_tokens=special)["input_ids"]]

    def _forget(self) -> None:
        for known in (self._told, self._steps):
            if len(known) > REMEMBERED:
                known.clear()


def ends_in(folder: Path) -> list[int]:
    """The tokens that a checkpoint folder says end a text: of its generation config and of its config."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        try:
            told = json.loads((folder / name).read_text()).get("eos_token_id")
        except (OSError, ValueError, AttributeError):
            continue
        found += told if isinstance(told, list) else [] if told is None else [told]
    return [token for token in dict.fromkeys(found) if isinstance(token, int)]
