"""`chain`: reasoning in words, a line a step (chain of thought, arXiv 2201.11903); nothing is run.

The answer is found in the whole response by the rules that the experiment names, tried in order. A line ends a step. It
ends the answer where it holds the answer's own mark (a box, "the answer is", `{after: …}`), where the model ends the
text, and where a blank line or another of `stop` follows, for a base that ends nothing by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from perseid.engine import END, Completion
from perseid.formats.extraction import After, Rule, Rules, extract
from perseid.formats.format import Draft
from perseid.formats.telling import Worded, WordedSettings, first_of
from perseid.section import DISCRIMINATOR

VERSION: Final = "1"  # raised by hand when a text comes to be read otherwise
LINE: Final = re.compile(r"(?<=\n)")
MARKS: Final = ("boxed", "the_answer_is", "answer_tag")  # rules by which a line says itself that it answers
RULES: Final[tuple[Rule, ...]] = ("boxed", After(after="####"), "the_answer_is", "last_number")


class Settings(WordedSettings):
    kind: Annotated[Literal["chain"], DISCRIMINATOR] = "chain"
    answer: Rules = RULES  # how the answer is found, tried in order

    FILES: ClassVar[Path] = Path(__file__)


@dataclass(frozen=True)
class Chain(Worded):
    rules: tuple[Rule, ...] = RULES
    runs: bool = False

    NAME: ClassVar[str] = "chain"
    VERSION: ClassVar[str] = VERSION
    BREAK: ClassVar[str] = "\n"
    STEP: ClassVar[re.Pattern[str]] = LINE

    def code_of(self, response: str) -> str:
        return ""

    def program_key(self, code: str) -> str:
        """Of a text: but for its white space and where it ends."""
        return " ".join(code.replace(END, " ").split())

    def read(self, completion: Completion) -> Draft:
        text, stop, tokens, _ = completion
        line = f"\n{text}"
        at = first_of(line, self.markers)
        step = line[:at].strip()
        ends = at < len(line) or stop in self.ends or bool(stop and not step) or self._answers(step)
        delimiter = END if ends else "\n" if stop else ""
        cut = not stop and not ends
        return Draft(step + delimiter, None, None, ends, tokens, None, not cut, 1, cut)

    def read_whole(self, completion: Completion) -> Draft:
        text, stop, tokens, _ = completion
        lines = [line.rstrip() for line in text.strip().replace("\r\n", "\n").split("\n")]
        response = "\n".join(lines) + (END if stop else "")
        found = extract(response, self.rules, cut=not stop)
        parsed = bool(stop) or found is not None
        return Draft(response, None, found, True, tokens, None, parsed, len(self.split(response)) or 1, not stop)

    def answer(self, text: str, printed: str) -> str | None:
        return extract(text, self.rules)

    def _answers(self, step: str) -> bool:
        marks = [rule for rule in self.rules if isinstance(rule, After) or rule in MARKS]
        return bool(marks) and extract(step, marks) is not None


def format_of(settings: Settings) -> Chain:
    return Chain(settings.told, settings.answer, settings.stop)
