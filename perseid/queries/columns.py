"""Columns as they leave DuckDB: each under a name of its own, and of a type that every reader of ours can show.

SQL gives two columns one name (a join of two views, say), and has types that no data frame holds: intervals, unions,
dates beyond the calendar. Those leave as the text that DuckDB writes for them. Numbers leave as Int64 or Float64.
"""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import polars as pl

if TYPE_CHECKING:
    import duckdb

NUMBERS: Final = ("tinyint", "smallint", "integer", "bigint", "hugeint", "float", "double", "decimal")
UNSIGNED: Final = ("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint")
PLAIN: Final = {*NUMBERS, *UNSIGNED, "boolean", "varchar", "null", '"null"'}
NESTED: Final = {"list", "array", "struct"}


def leaving(found: "duckdb.DuckDBPyRelation") -> "duckdb.DuckDBPyRelation":
    """What `found` finds, in columns of distinct names and plain types."""
    names, plain = distinct(found.columns), [is_plain(kind) for kind in found.types]
    if names == found.columns and all(plain):
        return found
    casts = ("" if as_it_is else "::varchar" for as_it_is in plain)
    columns = zip(itertools.count(1), casts, names, strict=False)
    return found.project(", ".join(f'#{n}{cast} as "{quoted(name)}"' for n, cast, name in columns))


def distinct(names: Sequence[str]) -> list[str]:
    """The second `key` is called `key_2`."""
    found: list[str] = []
    for name in names:
        free = (f"{name}_{number}" for number in itertools.count(2))
        found.append(name if name not in found else next(one for one in free if one not in (*names, *found)))
    return found


def is_plain(kind: Any) -> bool:
    if kind.id in NESTED:
        return all(is_plain(inner) for _, inner in kind.children if hasattr(inner, "id"))
    return kind.id in PLAIN


def quoted(name: str) -> str:
    return name.replace('"', '""')


def numbers(column: pl.Series) -> pl.Series:
    """DuckDB sums integers to 128 bits, which arrive as decimals; those that 64 bits cannot hold are rounded."""
    if not isinstance(column.dtype, pl.Decimal):
        return column
    whole = column.cast(pl.Int64, strict=False) if not column.dtype.scale else None
    fits = whole is not None and whole.null_count() == column.null_count()
    return whole if whole is not None and fits else column.cast(pl.Float64)
