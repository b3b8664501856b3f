"""Rows of a file as problems: which columns ask, know and tell, and what is wrong with a row.

| what a row holds | what comes of it |
|---|---|
| a gold that is a JSON number, true, false, a list or an object | the gold, as it is |
| a gold that is a text which reads like a number | that text |
| no such column, null, or a text of white space alone, as question or gold | a bad row |
| a gold without the text of `gold_after` or `gold_before` | a bad row |
| text that UTF-8 cannot hold (a lone surrogate, a byte that was none), NUL | a bad row |
| a facet that is null or empty | a problem without that facet |

A bad row is named with its file, its line and the reason.
"""

import datetime
import decimal
import hashlib
import json
import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, Strict, model_validator

from perseid.errors import UserError, printable
from perseid.mistakes import mistake
from perseid.problems import files, source
from perseid.problems.facets import ALL
from perseid.problems.phrasing import PhrasingError, columns_of, rendered
from perseid.problems.problem import Gold, Item, Problem
from perseid.problems.source import Found, Read
from perseid.section import OPERATIONAL, Section

NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
FACET: Final = re.compile(r"[A-Za-z][\w-]{0,63}", re.ASCII)
LOOKED_AT: Final = 100  # rows in which a column must be met, where a format has no header
MAX_ID: Final = 200  # characters
Column = Annotated[str, Field(min_length=1, max_length=1000)]
Columns = Annotated[tuple[Column, ...], Strict(False), Field(max_length=100)]


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _named_as_itself(value: Any) -> Any:
    return (
        {name: name for name in value} if isinstance(value, list) and all(isinstance(n, str) for n in value) else value
    )


def _path(path: str) -> str:
    if not path.strip() or not path.isprintable() or len(path) > 4096:
        raise mistake("", "expected the path of a file, or a glob")
    return path


def checked_name(name: str) -> str:
    if name and not NAME.fullmatch(name):
        raise mistake("", "expected letters, digits, _, - and ., at most 64")
    return name


def _kind(kind: str) -> str:
    if not NAME.fullmatch(kind):
        raise mistake("", "expected the name of a grader")
    return kind


Paths = Annotated[
    tuple[Annotated[str, AfterValidator(_path)], ...],
    Strict(False),
    BeforeValidator(listed),
    Field(min_length=1, max_length=10_000),
]


class Mapped(Section):
    """Columns by what they are for; `a.b` is field b of column a."""

    question: Column = "question"
    gold: Column | dict[str, Column] = "answer"  # a mapping makes a JSON object of several columns
    id: Column | None = None  # (none: the hash of the question)
    facets: Annotated[dict[str, Column], BeforeValidator(_named_as_itself)] = {}  # name: column, or a list of columns

    @model_validator(mode="after")
    def _facets_have_names(self) -> "Mapped":
        for name in self.facets:
            if not FACET.fullmatch(name) or name == ALL:
                expected = f"expected letters, digits, _ and -, a letter first and not {ALL}: give the column a name"
                raise mistake(f"facets.{printable(name, 80)}", expected)
        if self.gold == {}:
            raise mistake("gold", "expected a column, or a mapping of names to columns")
        return self


class Settings(source.Settings):
    """Of every source that is a table of rows."""

    name: Annotated[str, AfterValidator(checked_name)] = ""  # what its problems are called by; "": as the source is
    kind: Annotated[str, AfterValidator(_kind)]  # of the answers: the name of a grader
    columns: Mapped = Mapped()
    template: Annotated[str, Field(max_length=100_000)] = (
        ""  # Jinja over the row's columns, in place of columns.question
    )
    prefix: Annotated[str, Field(max_length=100_000)] = ""  # before the question
    suffix: Annotated[str, Field(max_length=100_000)] = ""
    gold_after: Annotated[str, Field(max_length=1000)] = ""  # the gold is what stands after the last of it
    gold_before: Annotated[str, Field(max_length=1000)] = ""  # and before the first of it
    on_bad_row: Literal["stop", "drop"] = "stop"

    @model_validator(mode="after")
    def _one_way_to_put_a_question(self) -> "Settings":
        if self.template:
            for key in ("prefix", "suffix"):
                if getattr(self, key):
                    raise mistake(key, "has no effect beside a template: write it there")
            if self.columns.question != Mapped().question:
                raise mistake("columns.question", "has no effect beside a template, which names its columns itself")
            try:
                columns_of(self.template)
            except PhrasingError as error:
                raise mistake("template", printable(str(error))) from None
        if isinstance(self.columns.gold, dict) and (self.gold_after or self.gold_before):
            key = "gold_after" if self.gold_after else "gold_before"
            raise mistake(key, "has no effect on a gold of several columns")
        return self

    @property
    def called(self) -> str:
        return self.name or self.source

    @property
    def stops_at_bad_rows(self) -> bool:
        return self.on_bad_row == "stop"

    def facets_told(self) -> frozenset[str]:
        return frozenset(self.columns.facets)

    def kinds(self) -> frozenset[str]:
        return frozenset([self.kind])

    def opened(self, seed: int, root: Path) -> "Rows":
        return Rows(self, root)

    def rows(self, root: Path, only: Collection[str] | None = None) -> "Iterator[Row]":
        """The rows in order. Raises `UserError` for what no row can be read of.

        only: the columns that are needed, where a format can leave out others.
        """
        raise NotImplementedError

    def needed(self) -> dict[str, str]:
        """The columns that every row must have, with the key that asks for each."""
        gold = self.columns.gold
        asks = dict.fromkeys(sorted(columns_of(self.template)), "template") if self.template else {}
        asks = asks or {self.columns.question: "columns.question"}
        knows = {gold: "columns.gold"} if isinstance(gold, str) else {c: f"columns.gold.{k}" for k, c in gold.items()}
        told = {self.columns.id: "columns.id"} if self.columns.id else {}
        return asks | knows | told

    def wanted(self, more: str = "") -> set[str]:
        """All columns that are read, by the name of the whole column."""
        names = {*self.needed(), *self.columns.facets.values(), *filter(None, [more])}
        return names | {name.split(".")[0] for name in names}

    def unreadable(self, root: Path) -> Found | None:
        """By the first rows."""
        present, looked = dict[str, None](), 0
        try:
            for row in self.rows(root):
                present |= dict.fromkeys(row.values or {})
                looked += 1
                if row.fault and self.on_bad_row == "stop":
                    return "path", f"{row.file}: line {row.line}: {row.fault}"
                if looked == LOOKED_AT:
                    break
        except UserError as error:
            return "path", str(error)
        if not looked:
            return "path", "expected rows, found none"
        facets = {column: f"columns.facets.{name}" for name, column in self.columns.facets.items()}
        for column, key in (self.needed() | facets).items():
            if column not in present and column.split(".")[0] not in present and present:
                there = ", ".join(printable(name, 40) for name in present)
                return key, f"expected one of the columns {printable(there)}, found {printable(column, 80)}"
        return None


class FileSettings(Settings):
    """Of those that read files."""

    path: Annotated[Paths, OPERATIONAL]  # files and globs; relative to the project's root. What they hold counts

    def key(self, root: Path) -> str:
        return files.content_key(self.files(root))

    def files(self, root: Path) -> list[Path]:
        return files.found(self.path, root)

    def unreadable(self, root: Path) -> Found | None:
        try:
            for file in self.files(root):
                if not file.stat().st_size:
                    return "path", f"{files.shown(file, root)}: expected rows, found an empty file"
        except UserError as error:
            return "path", str(error)
        return super().unreadable(root)


class Row(NamedTuple):
    """A row, or why there is none. line: counted from 1, where its text begins; of a table without lines, the row."""

    file: str
    line: int
    values: Mapping[str, Any] | None
    fault: str = ""


@dataclass(frozen=True)
class Rows:
    """A source of rows."""

    settings: Settings
    root: Path

    @property
    def name(self) -> str:
        return self.settings.called

    def read(self, told: str = "") -> Iterator[Read]:
        for row in self.settings.rows(self.root, self.settings.wanted(told)):
            if row.values is None:
                yield Read(row.file, row.line, None, "", row.fault)
                continue
            try:
                yield Read(row.file, row.line, item_of(self.settings, row.values), _told(row.values, told))
            except _Bad as bad:
                yield Read(row.file, row.line, None, "", str(bad))


class _Bad(Exception):
    """Says what is wrong with a row."""


def item_of(settings: Settings, row: Mapping[str, Any]) -> Item:
    """The problem, gold and facets of a row; raises `_Bad` for a bad one."""
    question, answer = _question(settings, row), _gold(settings, row)
    problem_id = f"{settings.called}-{_id(settings, row, question)}"
    facets = {name: text for name, column in settings.columns.facets.items() if (text := _told(row, column))}
    return Item(Problem(problem_id, settings.called, settings.kind, question), Gold(problem_id, answer), facets)


def _question(settings: Settings, row: Mapping[str, Any]) -> str:
    if settings.template:
        try:
            question = rendered(settings.template, row)
        except PhrasingError as error:
            raise _Bad(printable(str(error))) from None
    else:
        column = settings.columns.question
        asked = value_at(row, column)
        if not isinstance(asked, str):
            raise _Bad(f"expected text as question in column {column}, found {_kind_of(asked)}")
        if not asked.strip():
            raise _Bad(f"the question in column {column} is empty")
        question = f"{settings.prefix}{asked}{settings.suffix}"
    if not question.strip():
        raise _Bad("the question is empty")
    if not files.is_text(question):
        raise _Bad("the question is no text in UTF-8")
    return question


def _gold(settings: Settings, row: Mapping[str, Any]) -> JsonValue:
    if isinstance(settings.columns.gold, dict):
        parts = {name: plain(value_at(row, column)) for name, column in settings.columns.gold.items()}
        if all(value is None or value == "" for value in parts.values()):
            raise _Bad("the gold is empty")
        return parts
    column = settings.columns.gold
    gold = plain(value_at(row, column))
    for marker, side in ((settings.gold_after, -1), (settings.gold_before, 0)):
        if marker:
            if not isinstance(gold, str) or marker not in gold:
                raise _Bad(f"expected {printable(marker, 40)!r} in the gold of column {column}, found {_kind_of(gold)}")
            gold = gold.rpartition(marker)[2] if side else gold.partition(marker)[0]
    gold = gold.strip() if isinstance(gold, str) else gold
    if gold is None or gold == "" or gold == [] or gold == {}:
        raise _Bad(f"the gold in column {column} is empty")
    return gold


def _id(settings: Settings, row: Mapping[str, Any], question: str) -> str:
    if settings.columns.id is None:
        return digest_of(question)
    told = _told(row, settings.columns.id)
    value_at(row, settings.columns.id)
    if not told or len(told) > MAX_ID or not told.isprintable():
        raise _Bad(f"expected an id of 1 to {MAX_ID} printable characters in column {settings.columns.id}")
    return told


def digest_of(text: str) -> str:
    """16 hex digits that name a question without an id."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or of a field inside one."""
    if column in row:
        return row[column]
    inner: Any = row
    for name in column.split("."):
        if not isinstance(inner, Mapping) or name not in inner:
            raise _Bad(f"expected column {printable(column, 80)}; it is missing")
        inner = inner[name]
    return inner


def plain(value: Any) -> JsonValue:
    """A value of a table as JSON has it. Raises `_Bad` for what JSON has not."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _Bad(f"expected a gold that is a number, found {value}")
        return value
    if isinstance(value, str):
        if not files.is_text(value):
            raise _Bad("the gold is no text in UTF-8")
        return value
    if isinstance(value, decimal.Decimal | datetime.date | datetime.time):
        return str(value) if isinstance(value, decimal.Decimal) else value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(inner) for inner in value]
    raise _Bad(f"expected text, a number, true, false, a list or an object, found {type(value).__name__}")


def _told(row: Mapping[str, Any], column: str) -> str:
    """A value as a facet has it: a text on one line, "" for none."""
    try:
        value = plain(value_at(row, column)) if column else None
    except _Bad:
        return ""
    if value is None or isinstance(value, str):
        return " ".join((value or "").split())
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    return "another text" if isinstance(value, str) else f"a {type(value).__name__}"
