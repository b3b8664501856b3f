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
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import JsonValue

from perseid.errors import printable
from perseid.problems import files
from perseid.problems.phrasing import PhrasingError, rendered
from perseid.problems.problem import Gold, Item, Problem

if TYPE_CHECKING:
    from perseid.problems.rows import Settings

MAX_ID: Final = 200  # characters
MAX_DEPTH: Final = 100  # of lists and objects inside each other


class BadRow(Exception):
    """Says what is wrong with a row."""


def item_of(settings: "Settings", row: Mapping[str, Any]) -> Item:
    """The problem, gold and facets of a row; raises `BadRow` for a bad one."""
    question, answer = _question(settings, row), _gold(settings, row)
    problem_id = f"{settings.called}-{_id(settings, row, question)}"
    facets = {name: text for name, column in settings.columns.facets.items() if (text := told_by(row, column))}
    return Item(Problem(problem_id, settings.called, settings.kind, question), Gold(problem_id, answer), facets)


def _question(settings: "Settings", row: Mapping[str, Any]) -> str:
    if settings.template:
        try:
            question = rendered(settings.template, row)
        except PhrasingError as error:
            raise BadRow(printable(str(error))) from None
    else:
        column = settings.columns.question
        asked = value_at(row, column)
        if not isinstance(asked, str):
            raise BadRow(f"expected text as question in column {column}, found {_kind_of(asked)}")
        if not asked.strip():
            raise BadRow(f"the question in column {column} is empty")
        question = f"{settings.prefix}{asked}{settings.suffix}"
    if not question.strip():
        raise BadRow("the question is empty")
    if not files.is_text(question):
        raise BadRow("the question is no text in UTF-8")
    return question


def _gold(settings: "Settings", row: Mapping[str, Any]) -> JsonValue:
    if isinstance(settings.columns.gold, dict):
        parts = {name: plain(value_at(row, column)) for name, column in settings.columns.gold.items()}
        if all(value is None or value == "" for value in parts.values()):
            raise BadRow("the gold is empty")
        return parts
    column = settings.columns.gold
    gold = plain(value_at(row, column))
    for marker, side in ((settings.gold_after, -1), (settings.gold_before, 0)):
        if marker:
            if not isinstance(gold, str) or marker not in gold:
                raise BadRow(
                    f"expected {printable(marker, 40)!r} in the gold of column {column}, found {_kind_of(gold)}"
                )
            gold = gold.rpartition(marker)[2] if side else gold.partition(marker)[0]
    gold = gold.strip() if isinstance(gold, str) else gold
    if gold is None or gold == "" or gold == [] or gold == {}:
        raise BadRow(f"the gold in column {column} is empty")
    return gold


def _id(settings: "Settings", row: Mapping[str, Any], question: str) -> str:
    if settings.columns.id is None:
        return digest_of(question)
    told = told_by(row, settings.columns.id)
    value_at(row, settings.columns.id)
    if not told or len(told) > MAX_ID or not told.isprintable():
        raise BadRow(f"expected an id of 1 to {MAX_ID} printable characters in column {settings.columns.id}")
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
            raise BadRow(f"expected column {printable(column, 80)}; it is missing")
        inner = inner[name]
    return inner


def plain(value: Any, depth: int = 0) -> JsonValue:
    """A value of a table as JSON has it. Raises `BadRow` for what JSON has not, and for what is nested too deep."""
    if depth > MAX_DEPTH:
        raise BadRow(f"expected at most {MAX_DEPTH} lists and objects inside each other")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadRow(f"expected a gold that is a number, found {value}")
        return value
    if isinstance(value, str):
        if not files.is_text(value):
            raise BadRow("the gold is no text in UTF-8")
        return value
    if isinstance(value, decimal.Decimal | datetime.date | datetime.time):
        return str(value) if isinstance(value, decimal.Decimal) else value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [plain(inner, depth + 1) for inner in value]
    raise BadRow(f"expected text, a number, true, false, a list or an object, found {type(value).__name__}")


def told_by(row: Mapping[str, Any], column: str) -> str:
    """A value as a facet has it: a text on one line, "" for none."""
    try:
        value = plain(value_at(row, column)) if column else None
    except BadRow:
        return ""
    if value is None or isinstance(value, str):
        return " ".join((value or "").split())
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    return "another text" if isinstance(value, str) else f"a {type(value).__name__}"
