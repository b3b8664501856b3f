"""Checks a frame against its schema and its neighbours, and turns it into bytes that depend on its rows alone."""

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import polars as pl
from pandera.errors import SchemaErrors

from perseid.errors import UserError
from perseid.tables.schemas import SCHEMAS

ROW_GROUP: Final = 131_072  # rows: about what one DuckDB thread takes at a time


OF_A_COLUMN: Final = {
    "column_in_dataframe": "missing column",
    "column_in_schema": "unknown column",
    "column_ordered": "column out of order",
}


class TableError(UserError):
    """A table that breaks its schema. `failure_cases`: one row a failure; `counts`: failures by "column: check"."""

    def __init__(self, where: object, failure_cases: pl.DataFrame) -> None:
        self.failure_cases = failure_cases
        checks = failure_cases.group_by("column", "check", maintain_order=True).len()
        self.counts = {f"{column}: {check}": count for column, check, count in checks.iter_rows()}
        first = failure_cases.row(0, named=True)
        row = "" if first["index"] is None else f" in row {first['index']}"
        key = str(first["column"])
        found = ", ".join(f"{name.removeprefix(key + ': ')} ({count})" for name, count in self.counts.items())
        super().__init__(where, key, f"{found}; first: {str(first['failure_case'])[:120]}{row}")


class Relation(NamedTuple):
    """Every value of `columns` in `child` stands in `parent` (there named `to`); "" is exempt where `optional`."""

    child: str
    columns: tuple[str, ...]
    parent: str
    to: tuple[str, ...]
    meaning: str
    optional: bool = False


NODE: Final = ("problem_id", "node_id")
RELATIONS: Final = (
    Relation("problems", ("problem_id",), "gold", ("problem_id",), "a problem has no answer"),
    Relation("gold", ("problem_id",), "problems", ("problem_id",), "an answer belongs to no problem"),
    Relation("facets", ("problem_id",), "problems", ("problem_id",), "a facet belongs to no problem"),
    Relation("pools", ("problem_id",), "problems", ("problem_id",), "a place belongs to no problem"),
    Relation("problems", ("problem_id",), "pools", ("problem_id",), "a problem has no place"),
    Relation("demonstrations", ("problem_id",), "problems", ("problem_id",), "a demonstration has no problem", True),
    Relation("texts", NODE, "nodes", NODE, "a text belongs to no node"),
    Relation("nodes", ("problem_id", "parent_id"), "nodes", NODE, "a node has no parent", True),
    Relation("nodes", ("problem_id",), "searches", ("problem_id",), "a node belongs to no search"),
    Relation("trajectories", NODE, "nodes", NODE, "a trajectory ends at no node"),
)


def validate(name: str, df: pl.DataFrame, where: object = None) -> pl.DataFrame:
    """`df`, unchanged, if it keeps the schema of the table `name`. Raises `TableError`, which names `where`."""
    try:
        return SCHEMAS[name].validate(df, lazy=True)
    except SchemaErrors as error:
        raise TableError(where or f"table {name}", _told(name, _failures(error.failure_cases))) from None


def relate(tables: Mapping[str, pl.DataFrame], where: object = None) -> None:
    """Check what holds between the tables of one artifact. Raises `TableError` naming the first relation broken."""
    for relation in RELATIONS:
        if relation.child in tables and relation.parent in tables:
            _check(relation, tables[relation.child], tables[relation.parent], where or f"table {relation.child}")


@cache
def columns_of(name: str) -> dict[str, pl.DataType]:
    """The columns of the table `name` in order, with their dtypes."""
    return {column: field.dtype.type for column, field in SCHEMAS[name].to_schema().columns.items()}


def frame(name: str, rows: Iterable[Sequence[Any]]) -> pl.DataFrame:
    """Rows of the table `name`, their values in the order of its columns, as a frame sorted by its key."""
    return pl.DataFrame(list(rows), schema=columns_of(name), orient="row").sort(key_of(name))


def key_of(name: str) -> list[str]:
    """The columns that rows of the table `name` are sorted by; all of them where none are unique together."""
    return list(getattr(SCHEMAS[name].Config, "unique", None) or columns_of(name))


def parquet_bytes(name: str, df: pl.DataFrame) -> bytes:
    """A valid frame as Parquet: the same rows in whatever order and chunks give the same bytes."""
    buffer = io.BytesIO()
    ordered = df.sort(key_of(name), maintain_order=True).rechunk()
    ordered.write_parquet(buffer, compression="zstd", compression_level=3, row_group_size=ROW_GROUP, statistics=True)
    return buffer.getvalue()


def _check(relation: Relation, child: pl.DataFrame, parent: pl.DataFrame, where: object) -> None:
    if relation.optional:
        child = child.filter(pl.col(relation.columns[-1]) != "")
    lost = child.select(relation.columns).join(
        parent.select(relation.to), left_on=relation.columns, right_on=relation.to, how="anti"
    )
    if lost.height:
        cases = [", ".join(map(str, row)) for row in lost.iter_rows()]
        column, check = relation.columns[-1], f"{relation.meaning} (in {relation.parent})"
        failures = [{"column": column, "check": check, "failure_case": case, "index": None} for case in cases]
        raise TableError(where, _failures(pl.DataFrame(failures)))


def _told(name: str, failures: pl.DataFrame) -> pl.DataFrame:
    """pandera's words for faults of the whole table put as faults of its columns, follow-up faults left out."""
    column, check, case = pl.col("column"), pl.col("check"), pl.col("failure_case")
    mistyped = failures.filter(check.str.starts_with("dtype("))["column"].implode()
    return failures.filter(check.str.starts_with("dtype(") | ~column.is_in(mistyped)).with_columns(
        column=pl.when(check.is_in(list(OF_A_COLUMN)))
        .then(case)
        .when(check == "multiple_fields_uniqueness")
        .then(pl.lit(", ".join(key_of(name))))
        .when(column == SCHEMAS[name].__name__)
        .then(pl.lit("row"))
        .otherwise(column),
        check=check.replace(
            OF_A_COLUMN | {"multiple_fields_uniqueness": "not unique", "not_nullable": "null"}
        ).str.replace(r"^dtype\('(.*)'\)$", "expected $1"),
    )


def _failures(cases: pl.DataFrame) -> pl.DataFrame:
    wanted = {"column": pl.String, "check": pl.String, "failure_case": pl.String, "index": pl.Int64}
    return cases.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
