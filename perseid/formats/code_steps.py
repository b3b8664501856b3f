"""`code_steps`: Python in steps of comment and code, as any language model may write it (rStar-Math, section 3.1).

    Question: Tom has 14 marbles and gives 5 away. How many are left?
    Answer:
    # Tom has 14 marbles
    marbles = 14
    # he gives 5 away
    print(marbles - 5)

A step begins with a comment at the beginning of a line and goes on to the next one. These boundaries cost nothing: a
line break is a token of its own in front of a comment, in a step that is encoded alone as in the whole text. The first
line that prints ends the answer, whatever a model writes after it; so does the model's own end of sequence, and what
parts examples from each other in a prompt (`stop`), for a base that ends nothing by itself.

What models put around their code is no part of it: fences, blank lines and blanks before the first line. Programs are
run in the sandbox, as steps or whole; the answer is what was printed last (or what another rule finds).
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator

from perseid.engine import END, Completion
from perseid.formats import extraction
from perseid.formats.extraction import Rules, extract
from perseid.formats.format import Draft
from perseid.formats.programs import without_comments
from perseid.formats.telling import Markers, Worded, WordedSettings, first_of
from perseid.mistakes import mistake
from perseid.section import DISCRIMINATOR

VERSION: Final = "1"  # raised by hand when a text comes to be read otherwise
NEXT_STEP: Final = "\n#"
STEP: Final = re.compile(r"(?<=\n)(?=#)")
PRINTS: Final = re.compile(r"^print\(.*\)[ \t]*(?:#.*)?$", re.MULTILINE)


def _no_code(markers: tuple[str, ...]) -> tuple[str, ...]:
    for number, marker in enumerate(markers, 1):
        if "print" in marker or marker == "\n" or marker.startswith(NEXT_STEP):
            raise mistake(str(number), "expected what stands in no program: a stop string is not part of the answer")
    return markers


class Settings(WordedSettings):
    kind: Annotated[Literal["code_steps"], DISCRIMINATOR] = "code_steps"
    answer: Rules = ("program",)  # how the answer is found: what was printed, or in the text
    stop: Annotated[Markers, AfterValidator(_no_code)] = ("\n\n", "\nQuestion:")

    FILES: ClassVar[Path] = Path(__file__)


@dataclass(frozen=True)
class CodeSteps(Worded):
    rules: tuple[extraction.Rule, ...] = ("program",)
    runs: bool = True

    NAME: ClassVar[str] = "code_steps"
    VERSION: ClassVar[str] = VERSION
    BREAK: ClassVar[str] = NEXT_STEP
    STEP: ClassVar[re.Pattern[str]] = STEP

    def code_of(self, response: str) -> str:
        return response.replace(END, "\n").strip("\n")

    def program_key(self, code: str) -> str:
        """Of comments alone, what they say."""
        return without_comments(code) or code.strip()

    def read(self, completion: Completion) -> Draft:
        return self._read(completion)

    def read_whole(self, completion: Completion) -> Draft:
        draft = self._read(completion)
        return draft._replace(ends=True, steps=max(1, len(self.split(draft.text))))

    def answer(self, text: str, printed: str) -> str | None:
        """Of several lines that were printed, the last."""
        *_, last = ["", *filter(None, map(str.strip, printed.splitlines()))]
        return extract(text, self.rules, printed=last)

    def _read(self, completion: Completion) -> Draft:
        text, stop, tokens = completion.text.lstrip("\n"), completion.stop, completion.num_tokens
        code = _cleaned(text[: first_of(text, self.markers)] if stop else text)
        if printing := PRINTS.search(code):
            code = code[: printing.end()]
            return Draft(code + END, code, None, True, tokens)
        ends, cut = stop in self.ends, not stop
        delimiter = END if ends else "\n" if stop else ""
        return Draft(code + delimiter, code, None, ends, tokens, None, bool(code) and not cut, 1, cut)


def _cleaned(text: str) -> str:
    """The code in a text: no fences, no blanks around it; where the first line is indented, all lines are less."""
    lines = text.replace("\r\n", "\n").split("\n")
    code = "\n".join(line for line in lines if not line.lstrip().startswith("```")).strip("\n").rstrip()
    return textwrap.dedent(code).lstrip(" \t") if code[:1] in (" ", "\t") else code


def format_of(settings: Settings) -> CodeSteps:
    return CodeSteps(settings.told, settings.answer, settings.stop)
