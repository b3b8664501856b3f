"""Comma-separated values with a header line (RFC 4180): quoted fields may hold commas, quotes and line breaks.

Every value is a text. Another delimiter is a setting.
"""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from perseid.errors import UserError, printable
from perseid.problems.files import MAX_ROW_BYTES, shown, text_of
from perseid.problems.rows import FileSettings, Row
from perseid.section import DISCRIMINATOR

csv.field_size_limit(MAX_ROW_BYTES)
MAX_COLUMNS: Final = 10_000


class Settings(FileSettings):
    source: Annotated[Literal["csv"], DISCRIMINATOR] = "csv"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","

    def rows(self, root: Path, only: Collection[str] | None = None) -> Iterator[Row]:
        for file in self.files(root):
            name = shown(file, root)
            with text_of(file) as text:
                table = csv.reader(text, delimiter=self.delimiter, strict=True)
                try:
                    header = _header(next(table, []), name)
                    before = table.line_num
                    for values in table:
                        line, before = before + 1, table.line_num
                        if not values:
                            continue  # a blank line
                        if len(values) == len(header):
                            yield Row(name, line, dict(zip(header, values, strict=True)))
                        else:
                            yield Row(name, line, None, f"expected {len(header)} fields, found {len(values)}")
                except csv.Error as error:
                    told = f"expected comma-separated values: {printable(str(error), 120)}"
                    raise UserError(name, f"line {table.line_num}", told) from None


SETTINGS = Settings


def _header(header: list[str], name: str) -> list[str]:
    names = [column.strip() for column in header]
    if not any(names):
        raise UserError(name, "line 1", "expected a header with the names of the columns")
    if len(names) > MAX_COLUMNS:
        raise UserError(name, "line 1", f"expected at most {MAX_COLUMNS:,} columns, found {len(names):,}")
    if twice := sorted({column for column in names if column and names.count(column) > 1}):
        raise UserError(name, "line 1", f"expected each column once, found {printable(twice[0], 80)} again")
    return names
