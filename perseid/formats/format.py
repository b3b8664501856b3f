"""What a format is: how a question and its steps are written for a model, and read back from what it writes.

A response is a text with its delimiters, as it is stored and as it stands in a prompt; `END` is the delimiter where a
model's own end of sequence ended it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from perseid.engine import Completion, Prompt


class Draft(NamedTuple):
    """What a completion says as a step, or as several: a child of a search's tree, if it stays.

    text: with its delimiter, as it stands in the prompt of the next step. program: what of it is run; None: nothing is.
    answer: known already, where no program prints it. ends: the answer ends with it. tokens: generated for it alone.
    prior: what the action that drafted it holds of it, in [-1, 1]. parsed: it is a step. steps: how many. cut: ended by
    the length limit. action: the name of what drafted it.
    """

    text: str
    program: str | None = None
    answer: str | None = None
    ends: bool = False
    tokens: int = 0
    prior: float | None = None
    parsed: bool = True
    steps: int = 1
    cut: bool = False
    action: str = "step"


class Format(Protocol):
    """See `perseid/formats/tools.py` for the one to read first."""

    @property
    def key(self) -> str:
        """16 hex digits of all that decides it: what models are shown, and how what they write is read."""
        ...

    @property
    def runs(self) -> bool:
        """Whether a step is a program, which the sandbox runs; else the answer is found in the text."""
        ...

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends a step."""
        ...

    @property
    def ends(self) -> tuple[str, ...]:
        """Those of `stops` that end the answer too."""
        ...

    def prompt(self, question: str, steps: Sequence[str] = (), *, shots: bool = False) -> Prompt:
        """What a model is told of a question; `steps` are those written so far, with their delimiters.

        shots: with worked examples, for a model that was not trained on the format.
        """
        ...

    def split(self, response: str) -> tuple[str, ...]:
        """The steps of a response, each with its delimiter: they are encoded apart."""
        ...

    def write(self, steps: Sequence[str]) -> str:
        """The response that these steps make, given without delimiters."""
        ...

    def setup(self, question: str) -> str:
        """The code that runs before the first step, "" for none."""
        ...

    def read(self, completion: Completion) -> Draft:
        """A completion that one of `stops` was to end."""
        ...

    def read_whole(self, completion: Completion) -> Draft:
        """A completion that one of `ends` was to end: all steps of a response."""
        ...

    def code_of(self, response: str) -> str:
        """The program in a text of one or more steps."""
        ...

    def program_key(self, code: str) -> str:
        """Programs (or texts, where none is run) with equal keys are the same."""
        ...

    def answer(self, text: str, printed: str) -> str | None:
        """The answer of a response: of its `text`, or of what its last step `printed`. None: it has none."""
        ...
