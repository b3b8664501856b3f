"""Sources that are tables of rows: which columns ask, know and tell. `perseid.problems.mapping` makes items of rows."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, Strict, model_validator

from perseid.errors import UserError, printable
from perseid.mistakes import mistake
from perseid.problems import files, source
from perseid.problems.facets import ALL
from perseid.problems.mapping import BadRow, item_of, told_by
from perseid.problems.phrasing import PhrasingError, columns_of
from perseid.problems.source import Found, Read
from perseid.section import OPERATIONAL, Section

NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,63}", re.ASCII)
FACET: Final = re.compile(r"[A-Za-z][\w-]{0,63}", re.ASCII)
LOOKED_AT: Final = 100  # rows in which a column must be met, where a format has no header
Column = Annotated[str, Field(min_length=1, max_length=1000)]


def listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _named_as_itself(value: Any) -> Any:
    value = listed(value)
    are_names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return {name: name for name in value} if are_names else value


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
                yield Read(row.file, row.line, item_of(self.settings, row.values), told_by(row.values, told))
            except BadRow as bad:
                yield Read(row.file, row.line, None, "", str(bad))
