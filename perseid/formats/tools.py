"""`tools`: steps of code between marks that a tokenizer was made for; the last step prints the answer.

    <|question|>…<|steps|># read the numbers
    a = numbers(q)<|end_of_step|># answer
    print(a)<|end_of_answer|>

The marks are special tokens, so the tokens of a prefix never depend on what follows it, and a step that holds one is
none. The question is the variable `q` of the program.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final, Literal

from perseid.engine import Completion, Message, Prompt
from perseid.formats.format import Draft
from perseid.formats.programs import without_comments
from perseid.section import DISCRIMINATOR, Section

QUESTION: Final = "<|question|>"
STEPS: Final = "<|steps|>"
END_OF_STEP: Final = "<|end_of_step|>"
END_OF_ANSWER: Final = "<|end_of_answer|>"
MARKS: Final = (QUESTION, STEPS, END_OF_STEP, END_OF_ANSWER)  # special tokens of a tokenizer, the last one ends a text
PAD: Final = "<|pad|>"  # and the one that fills a batch
MARK: Final = re.compile(r"<\|[^<>|\s]+\|>")  # these, and what else a tokenizer may have: a step holds none


class Settings(Section):
    """Nothing of it can be changed: its marks are the tokenizer's."""

    kind: Annotated[Literal["tools"], DISCRIMINATOR] = "tools"


@dataclass(frozen=True)
class Tools:
    version: str = "1"
    runs: bool = True
    stops: tuple[str, ...] = (END_OF_STEP, END_OF_ANSWER)
    ends: tuple[str, ...] = (END_OF_ANSWER,)

    @property
    def key(self) -> str:
        shown = (self.version, *MARKS, self.prompt("question", ("steps",)).text)
        return hashlib.sha256("\0".join(shown).encode()).hexdigest()[:16]

    def prompt(self, question: str, steps: Sequence[str] = (), *, shots: bool = False) -> Prompt:
        """Whose model knows it: there are no examples."""
        return Prompt((Message("user", f"{QUESTION}{question}{STEPS}"),), tuple(steps))

    def split(self, response: str) -> tuple[str, ...]:
        parts = response.split(END_OF_STEP)
        return (*(part + END_OF_STEP for part in parts[:-1]), *filter(None, parts[-1:]))

    def write(self, steps: Sequence[str]) -> str:
        return END_OF_STEP.join(steps) + END_OF_ANSWER

    def setup(self, question: str) -> str:
        return f"q = {question!r}"

    def code_of(self, response: str) -> str:
        return response.replace(END_OF_STEP, "\n").replace(END_OF_ANSWER, "\n").strip("\n")

    def program_key(self, code: str) -> str:
        return without_comments(code)

    def read(self, completion: Completion) -> Draft:
        """A step ended by a delimiter that is re-appended; cut by the length limit or without code, it is none."""
        text, stop, tokens, _ = completion
        code, is_code = _code_in(text)
        parsed = is_code and stop in self.stops
        return Draft(text + stop, code, None, stop == END_OF_ANSWER, tokens, None, parsed, 1, not stop)

    def read_whole(self, completion: Completion) -> Draft:
        text, stop, tokens, _ = completion
        steps = text.split(END_OF_STEP)
        parsed = stop == END_OF_ANSWER and all(without_comments(step) and not is_marked(step) for step in steps)
        return Draft(text + stop, self.code_of(text), None, True, tokens, None, parsed, len(steps), not stop)

    def answer(self, text: str, printed: str) -> str | None:
        return printed.strip() or None


@lru_cache(maxsize=10_000)
def _code_in(text: str) -> tuple[str, bool]:
    """The code of a step and whether it is any. Remembered: most samples of a node are alike."""
    code = text.strip("\n")
    return code, not is_marked(code) and bool(without_comments(code))


def is_marked(text: str) -> bool:
    """Whether a mark stands in `text`: as a token it would end, open or pad what it stands in."""
    return "<|" in text and MARK.search(text) is not None


def format_of(settings: Settings) -> Tools:
    return TOOLS


TOOLS: Final = Tools()
