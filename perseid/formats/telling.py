"""What a model is told of a question in words: a Jinja template, an instruction, worked examples; each replaceable.

The template makes a user's message of a `question` and knows nothing else. An example is the same message, and a
response that answers it. Templates are sandboxed: they reach no attribute that is not data, and a name that nobody
defined is an error. The content of the files decides, never where they lie.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, PrivateAttr, Strict

from perseid.document import read
from perseid.engine import END, Message, Prompt
from perseid.errors import UserError, printable
from perseid.formats import extraction
from perseid.formats.extraction import Rule
from perseid.section import Section, canonical

MAX_BYTES: Final = 64 * 1024  # of a template
SAMPLES: Final = ("What is 1 + 1?", "Name a prime above 10.")  # with which a template is tried
Markers = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Strict(False)]
ENVIRONMENT: Final = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
)
# What is drawn by chance: the same question is told alike.
del ENVIRONMENT.globals["lipsum"], ENVIRONMENT.filters["random"]


class Shot(NamedTuple):
    """A worked example. response: as the model is to write it, without what ends it."""

    question: str
    response: str


@dataclass(frozen=True)
class Told:
    """All that decides what a model is told."""

    template: str
    system: str = ""
    shots: tuple[Shot, ...] = ()

    @property
    def key(self) -> str:
        """16 hex digits."""
        return hashlib.sha256(json.dumps([self.template, self.system, self.shots]).encode()).hexdigest()[:16]

    def messages(self, question: str, shots: bool) -> tuple[Message, ...]:
        """The question as a model is told it; with `shots` after the examples."""
        before = _before(self, shots)
        return (*before, Message("user", _rendered(self.template, question)))


@lru_cache(maxsize=64)
def _before(told: Told, shots: bool) -> tuple[Message, ...]:
    found = [Message("system", told.system)] if told.system else []
    for shot in told.shots if shots else ():
        found += [Message("user", _rendered(told.template, shot.question)), Message("assistant", shot.response)]
    return tuple(found)


@lru_cache(maxsize=20_000)
def _rendered(template: str, question: str) -> str:
    return _compiled(template).render(question=question)


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    return ENVIRONMENT.from_string(template)


@dataclass(frozen=True)
class Worded:
    """A format whose models are told in words, and whose steps are parted in the text itself.

    rules: how the answer is found. markers: what ends an answer beside the model's own end of sequence.
    Of each format: its name and version, what ends a step, where a response is parted into steps.
    """

    told: Told
    rules: tuple[Rule, ...]
    markers: tuple[str, ...] = ("\n\n", "\nQuestion:")

    NAME: ClassVar[str]
    VERSION: ClassVar[str]
    BREAK: ClassVar[str]
    STEP: ClassVar[re.Pattern[str]]

    @property
    def key(self) -> str:
        read = [self.NAME, self.VERSION, extraction.VERSION, self.told.key, canonical(self.rules), self.markers]
        return hashlib.sha256(json.dumps(read).encode()).hexdigest()[:16]

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.BREAK, *self.ends)

    @property
    def ends(self) -> tuple[str, ...]:
        return (*self.markers, END)

    def prompt(self, question: str, steps: Sequence[str] = (), *, shots: bool = False) -> Prompt:
        return Prompt(self.told.messages(question, shots), tuple(steps))

    def split(self, response: str) -> tuple[str, ...]:
        return tuple(filter(None, self.STEP.split(response)))

    def write(self, steps: Sequence[str]) -> str:
        return "\n".join(step.strip("\n") for step in steps) + END

    def setup(self, question: str) -> str:
        return ""


class WordedSettings(Section):
    """Of a format whose models are told in words. `FILES` is the format's own template and examples, without ending."""

    template: Annotated[str, Field(max_length=4096)] = ""  # a file with a Jinja template of `question`; "": its own
    shots: Annotated[str, Field(max_length=4096)] = ""  # a YAML file with worked examples (`shots`); "": its own
    system: Annotated[str, Field(max_length=20_000)] = ""  # an instruction before all else; "": none
    stop: Markers = ("\n\n", "\nQuestion:")  # what ends an answer beside the model's own end of sequence
    _told: Told | None = PrivateAttr(default=None)

    FILES: ClassVar[Path]

    def unreadable(self, root: Path) -> tuple[str, str] | None:
        """Read the files; the key and what was expected where that fails. `root`: what relative paths start from."""
        try:
            template = _text(root / self.template if self.template else self.FILES.with_suffix(".j2"))
            _tried(template)
        except _Mistake as mistake:
            return "template", str(mistake)
        try:
            shots = _shots(root / self.shots if self.shots else self.FILES.with_suffix(".yaml"))
            self._told = Told(template, self.system, shots)
        except _Mistake as mistake:
            return "shots", str(mistake)
        return None

    @property
    def told(self) -> Told:
        """As the files were when the experiment was read. Raises `UserError` where they cannot be."""
        if self._told is None and (found := self.unreadable(Path.cwd())):
            raise UserError("models.policy.format", *found)
        assert self._told is not None
        return self._told


class _Mistake(Exception):
    """In a file: what was expected."""


def _text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # of a pipe that nobody writes no end is read
            raise _Mistake(f"expected a file with a Jinja template, found something else at {path}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise _Mistake(f"expected a file with a Jinja template; {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise _Mistake(f"expected a file with a Jinja template in UTF-8, found another encoding in {path}") from None
    if not text.strip() or len(content) > MAX_BYTES:
        raise _Mistake(f"expected a Jinja template of at most {MAX_BYTES:,} bytes in {path}")
    return text.replace("\r\n", "\n")


def _tried(template: str) -> None:
    """Raises `_Mistake` for one that cannot be rendered, or that does not tell the question."""
    try:
        made = [_rendered(template, question) for question in SAMPLES]
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise _Mistake(f"expected a template of `question`; {f'line {line}: ' if line else ''}{_said(error)}") from None
    except Exception as error:  # whatever its expressions raise
        raise _Mistake(f"expected a template of `question`; {_said(error)}") from None
    if not all(question in text for question, text in zip(SAMPLES, made, strict=True)):
        raise _Mistake("expected a template that tells the question: {{ question }}")


def _said(error: Exception) -> str:
    return printable(" ".join(str(error).split()), 200)


def _shots(path: Path) -> tuple[Shot, ...]:
    try:
        found = read(path)
    except UserError as error:
        raise _Mistake(f"expected a YAML file with worked examples in {path}; {error.key} {error.expected}") from None
    rows: Any = found.get("shots")
    if set(found) != {"shots"} or not isinstance(rows, list):
        raise _Mistake(f"expected the one key shots, a list, in {path}")
    return tuple(_shot(row, f"{path}: shots.{number}") for number, row in enumerate(rows, 1))


def _shot(row: Any, place: str) -> Shot:
    if not isinstance(row, dict) or set(row) != set(Shot._fields):
        raise _Mistake(f"expected question and response in {place}")
    if not all(isinstance(text, str) and text.strip() for text in row.values()):
        raise _Mistake(f"expected texts for question and response in {place}")
    return Shot(row["question"].strip(), row["response"].rstrip())


def first_of(text: str, markers: Sequence[str]) -> int:
    """Where the first of `markers` stands in `text`; its length where there is none."""
    return min((at for marker in markers if (at := text.find(marker)) != -1), default=len(text))
