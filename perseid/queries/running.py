"""Runs one reading statement over views of the store, in a DuckDB that is made for it and can reach nothing else.

It is bounded in seconds, memory and rows, by DuckDB and, where rows leave it, by us. Not covered: values of many
megabytes (`repeat('x', 3000000000)`), which DuckDB makes outside of its own limit, two thousand rows without a pause.
"""

import difflib
import json
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import polars as pl
import pyarrow as pa

from perseid.artifacts import Manifest, Store
from perseid.artifacts.addresses import plain
from perseid.artifacts.manifest import DIRTY
from perseid.artifacts.present import known as graph_known
from perseid.errors import UserError, printable
from perseid.queries.catalog import named
from perseid.queries.columns import leaving, numbers
from perseid.tables import SCHEMAS, columns_of, key_of

READING: Final = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
KEY: Final = re.compile(r"(?P<experiment>\w+)(/round_(?P<round>\d+))?/(?P<stage>\w+)(/(?P<shard>\w+))?")
RENAMED: Final = {
    "examples": {"round": "from_round"},
    "shards": {"shard": "read_shard", "version": "read_version"},
}
PLACE: Final = {
    "experiment": pl.String,
    "round": pl.Int64,
    "stage": pl.String,
    "shard": pl.String,
    "key": pl.String,
    "version": pl.String,
}
MANIFESTS: Final = PLACE | {
    "current": pl.Boolean,
    "code_version": pl.String,
    "experiment_hash": pl.String,
    "git_commit": pl.String,
    "git_dirty": pl.Boolean,
    "settings": pl.String,
    "mlflow_run": pl.String,
    "created": pl.String,
    "wall_s": pl.Float64,
    "cpu_s": pl.Float64,
    "tokens": pl.Int64,
    "rows": pl.Int64,
    "bytes": pl.Int64,
}
EDGES: Final = dict.fromkeys(("child_key", "child_version", "role", "parent_key", "parent_version"), pl.String)
SQL_TYPES: Final[Mapping[Any, str]] = {
    pl.String: "varchar",
    pl.Int64: "bigint",
    pl.Float64: "double",
    pl.Boolean: "boolean",
}
FILE: Final = "_file"  # what DuckDB calls the file of a row: no column of a table
ONCE: Final = ("problems", "gold", "facets")  # a row a key, in however many artifacts it stands
VIEWS: Final = (*SCHEMAS, "manifests", "lineage")


# A parameter of a named query that names something, and where what it may name stands.
NAMING: Final = {
    "experiment": ("manifests", "experiment"),
    "checkpoint": ("manifests", "key"),
    "key": ("manifests", "key"),
    "version": ("manifests", "version"),
    "problem_id": ("problems", "problem_id"),
    "facet": ("facets", "name"),
    "part": ("metrics", "part"),
}
ALL: Final = "all"  # stands for no facet and part in particular, where nothing is measured yet as well
BATCH: Final = 1000  # rows that leave DuckDB at once


@dataclass(frozen=True)
class Limits:
    """What a query may take. `cut`: more rows than `rows` are no mistake; one more comes, as a sign of them."""

    seconds: float = 60.0
    memory_gib: float = 2.0
    rows: int = 1_000_000
    cut: bool = False


def run_query(
    store: Store,
    sql_or_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    all_versions: bool = False,
    limits: Limits | None = None,
) -> pl.DataFrame:
    """The rows that a named query, or one SELECT of your own, finds in the store.

    Raises `UserError` with DuckDB's message for SQL that it refuses, for whatever would do more than read, for a limit
    that is passed, and for a parameter of a named query that names what is not in the store.
    """
    text, values, limits = sql_or_name.strip(), dict(params or {}), limits or Limits()
    if unwritable := [name for name, value in {"": text, **values}.items() if not _is_text(value)]:
        raise UserError("query", unwritable[0], "expected text in UTF-8")
    query = named().get(text)
    if query:
        text, values, all_versions = query.sql, query.bind(values), all_versions or query.all_versions
    elif re.fullmatch(r"[\w-]+", text) and text not in VIEWS:
        raise UserError(
            "query", text, f"no such query{_near(text, [*named(), *VIEWS])}; named queries: {_list(named())}"
        )
    elif text in VIEWS:
        text = f"from {text}"
    with duckdb.connect(":memory:") as connection, _bounded(connection, limits):
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type not in READING:
            expected = "expected one statement that only reads (SELECT, FROM, WITH, DESCRIBE, EXPLAIN)"
            raise UserError("query", "", expected)
        naming = {name: value for name, value in values.items() if query and name in NAMING and value is not None}
        _open(connection, store, _views_in(text) | {NAMING[name][0] for name in naming}, all_versions)
        for name, value in naming.items():
            _check_name(connection, f"query {sql_or_name.strip()}", name, value)
        found = _rows(connection, text, values, limits)
    return found.with_columns(numbers(column) for column in found.get_columns())


@contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, limits: Limits) -> Iterator[None]:
    """Bounds what runs in the block, and turns what DuckDB says of it into a `UserError`."""
    connection.execute(f"set memory_limit = '{int(limits.memory_gib * 2**30)}B'")
    connection.execute("set arrow_large_buffer_size = true")
    connection.execute("set temp_directory = ''")  # nothing is written, to the disk neither
    timer = threading.Timer(limits.seconds, connection.interrupt)
    timer.start()
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # while rows leave DuckDB, Arrow passes its words on
        raise UserError("query", "", _refusal(str(error), limits)) from error
    finally:
        timer.cancel()


def _refusal(said: str, limits: Limits) -> str:
    if "Interrupted!" in said:
        return f"not done in {limits.seconds:g} s; --max-seconds allows more"
    if "Out of Memory" in said:
        return f"needs over {limits.memory_gib:g} GiB; --max-memory-gib allows more"
    return f"{printable(said, 600)}; views: {_list(VIEWS)}; named queries: {_list(named())}"


def _open(connection: duckdb.DuckDBPyConnection, store: Store, wanted: Collection[str], all_versions: bool) -> None:
    """Make the views, and lock everything else."""
    _make_views(connection, store, wanted, all_versions)
    connection.execute("set allowed_directories = [$root]", {"root": f"{plain(store.root)}/"})
    connection.execute("set enable_external_access = false")
    connection.execute("set python_enable_replacements = false")  # a name in SQL is no variable of ours
    connection.execute("set lock_configuration = true")


def _views_in(sql: str) -> set[str]:
    return set(re.findall(r"\w+", sql.lower())) & set(VIEWS) or set(VIEWS)


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, values: dict[str, Any], limits: Limits) -> pl.DataFrame:
    """What the query finds, batch by batch, so that a limit ends it before memory does."""
    reader = leaving(connection.sql(sql, params=values)).to_arrow_reader(BATCH)
    batches, rows, num_bytes = [], 0, 0
    for batch in reader:
        rows, num_bytes = rows + batch.num_rows, num_bytes + batch.nbytes
        batches.append(batch)
        if num_bytes > limits.memory_gib * 2**30:
            raise UserError("query", "", _refusal("Out of Memory", limits))
        if rows > limits.rows:
            break
    if rows > limits.rows and not limits.cut:
        raise UserError("query", "", f"finds more than {limits.rows:,} rows; add a limit, or --max-rows allows more")
    found = pl.from_arrow(pa.Table.from_batches(batches, reader.schema))
    assert isinstance(found, pl.DataFrame)
    return found.head(limits.rows + 1)


def _check_name(connection: duckdb.DuckDBPyConnection, where: str, parameter: str, value: object) -> None:
    """Raises `UserError` with the nearest names where nothing in the store is called so."""
    view, column = NAMING[parameter]
    if value == ALL and parameter in ("facet", "part"):
        return
    found = f'select distinct "{column}"::varchar from {view}'
    if connection.execute(f'{found} where "{column}"::varchar = $value::varchar', {"value": value}).fetchall():
        return
    names = [name for (name,) in connection.execute(f"{found} order by all limit 10000").fetchall()]
    known = _near(str(value), names) or f"; there are {_list(names[:5])}{', …' if len(names) > 5 else ''}"
    told = known if names else "; there are no artifacts in this root yet"
    raise UserError(where, parameter, f"nothing is called {printable(str(value), 80)!r}{told}")


def _make_views(
    connection: duckdb.DuckDBPyConnection, store: Store, wanted: Collection[str], all_versions: bool
) -> None:
    keys = store.keys()
    current = [manifest for key in keys if (manifest := store.current(key))]
    ever = keys if all_versions or "lineage" in wanted else []
    everything = [store.manifest(key, version) for key in ever for version in store.versions(key)]
    seen = everything if all_versions else present(store, current)
    counting = {(manifest.key, manifest.version) for manifest in current}
    for name in sorted(wanted):
        if name == "lineage":
            edges = [edge for manifest in everything for edge in _edges(manifest)]
            _make_table(connection, name, pl.DataFrame(edges, schema=EDGES, orient="row"))
        elif name == "manifests":
            rows = [_made(manifest, (manifest.key, manifest.version) in counting) for manifest in seen]
            _make_table(connection, name, pl.DataFrame(rows, schema=MANIFESTS, orient="row"))
        else:
            _make_view(connection, name, _files(store, seen, name))


def _edges(manifest: Manifest) -> Iterator[tuple[str | None, ...]]:
    """An edge an input and role; those that were made before roles were recorded have null."""
    roles = [(key, role) for role, keys in manifest.roles.items() for key in keys]
    for key, role in roles or ((key, None) for key in manifest.inputs):
        yield manifest.key, manifest.version, role, key, manifest.inputs[key]


def present(store: Store, current: Sequence[Manifest]) -> list[Manifest]:
    """Those that are of their experiment's graph as it is now; all, where a root does not know of one."""
    names = {manifest.key.split("/")[0] for manifest in current}
    graphs = {name: found for name in names if (found := graph_known(store.root, name)) is not None}
    artifacts = {name: set(graph.artifacts) for name, graph in graphs.items()}
    held = [m for m in current if (name := m.key.split("/")[0]) not in artifacts or m.key in artifacts[name]]
    return made_alike(held)


def made_alike(held: Sequence[Manifest]) -> list[Manifest]:
    """Without shards that were made of other inputs or by other code than the last shard of their asset.

    While an asset is made again, or where that was killed, shards of both makings stand beside each other: where their
    number has changed a problem is in both, and counts once.
    """
    last: dict[str, Manifest] = {}
    for manifest in sorted(held, key=lambda manifest: manifest.created):
        last[_asset(manifest)] = manifest
    return [
        m for m in held if (made := last[_asset(m)]) is m or m.same_making(made.code_version, made.inputs, made.roles)
    ]


def _asset(manifest: Manifest) -> str:
    """The key of which a shard is a part; of what has no shards, its own."""
    match = KEY.fullmatch(manifest.key)
    return manifest.key.rpartition("/")[0] if match and match["shard"] else manifest.key


def _make_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    connection.register("incoming", rows)
    connection.execute(f"create table {name} as from incoming")
    connection.unregister("incoming")


def _make_view(connection: duckdb.DuckDBPyConnection, name: str, files: pl.DataFrame) -> None:
    called = RENAMED.get(name, {})
    columns = [f'rows."{column}" as "{called.get(column, column)}"' for column in columns_of(name)]
    place = [f"place.{column}" for column in PLACE if column != "round" or name != "pools"]
    only = ""
    if name in ONCE:  # a problem stands in every pool that asks it; of two versions the later one tells
        place, key = ["place.experiment"], ", ".join(f'rows."{column}"' for column in key_of(name))
        only = f"distinct on (place.experiment, {key})"
    connection.execute("create schema if not exists files")
    _make_table(connection, f"files.{name}", files)
    rows = _parquet(files[FILE]) if files.height else _no_rows(name)
    connection.execute(
        f"create view {name} as select {only} {', '.join(columns + place)} "
        f"from {rows} as rows join files.{name} as place using ({FILE})" + (" order by place.made desc" if only else "")
    )


def _parquet(files: Sequence[str] | pl.Series) -> str:
    quoted = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{quoted}], filename = '{FILE}', hive_partitioning = false)"


def _no_rows(name: str) -> str:
    """What stands for Parquet files where there are none: the table's columns, without a row."""
    columns = {FILE: pl.String, **columns_of(name)}
    nulls = [f'null::{SQL_TYPES[dtype]} as "{column}"' for column, dtype in columns.items()]
    return f"(select {', '.join(nulls)} where false)"


def _files(store: Store, manifests: Iterable[Manifest], table: str) -> pl.DataFrame:
    name = f"{table}.parquet"
    rows = [
        (str(plain(store.checked(manifest, name))), *_place(manifest), f"{manifest.created} {manifest.key}")
        for manifest in manifests
        if name in manifest.files
    ]
    return pl.DataFrame(rows, schema={FILE: pl.String, **PLACE, "made": pl.String}, orient="row")


def _place(manifest: Manifest) -> tuple[Any, ...]:
    parts = KEY.fullmatch(manifest.key)
    experiment, number, stage, shard = parts.group("experiment", "round", "stage", "shard") if parts else (None,) * 4
    return (experiment, int(number) if number else None, stage, shard, manifest.key, manifest.version)


def _made(manifest: Manifest, current: bool) -> tuple[Any, ...]:
    commit = manifest.git_commit
    dirty = commit.endswith(DIRTY) if commit else None
    read = json.dumps(dict(manifest.settings), sort_keys=True)
    code = (manifest.code_version, manifest.experiment_hash, commit, dirty, read, manifest.mlflow_run)
    cost = (manifest.created, manifest.wall_s, manifest.cpu_s, manifest.tokens)
    sizes = (sum(manifest.row_counts.values()), sum(file.bytes for file in manifest.files.values()))
    return (*_place(manifest), current, *code, *cost, *sizes)


def _is_text(value: object) -> bool:
    """Of what came by a command line, bytes that are no UTF-8 are surrogates here."""
    return not isinstance(value, str) or not any("\ud800" <= character <= "\udfff" for character in value)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
