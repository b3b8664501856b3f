"""`query` and `lineage` on a terminal, and as JSON for scripts."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import polars as pl
from polars import selectors
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from perseid.artifacts import Store
from perseid.errors import UserError, printable
from perseid.lineage import Ancestor, ancestors
from perseid.queries import VIEWS, Limits, named, run_query

WIDE = 60  # characters of a cell
SCREENFUL = 50  # rows
ADDRESS = "perseid://"  # before an artifact's key, and @version


def parameters(pairs: Sequence[str], sql_or_name: str | None, experiment: str | None) -> dict[str, Any]:
    """`NAME=VALUE` as the query takes them: JSON where it is, else text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError("query", pair, "expected --param NAME=VALUE")
        values.update(addressed(name, text) if text.startswith(ADDRESS) else {name: plain(text)})
    if experiment is not None:
        if sql_or_name not in named():
            raise UserError("query", "--experiment", "is for named queries; in SQL: where experiment = '…'")
        values["experiment"] = experiment
    return values


def addressed(name: str, address: str) -> dict[str, str]:
    """An artifact as `lineage` prints it: its key, and its version if it is named."""
    key, _, version = address.removeprefix(ADDRESS).partition("@")
    return {name: key, "version": version} if version else {name: key}


def plain(text: str) -> Any:
    """A number, true, false or null if it is one, else the text itself."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return text if isinstance(value, dict | list) else value


def answer(
    store: Store, sql_or_name: str | None, values: dict[str, Any], limit: int | None, as_json: bool, limits: Limits
) -> None:
    """Print what a query finds: at most `limit` rows (0: all; None: as many as a person reads, all as JSON)."""
    if sql_or_name is None:
        return catalogue(as_json)
    most = (0 if as_json else SCREENFUL) if limit is None else limit
    bounds = replace(limits, rows=most, cut=True) if 0 < most <= limits.rows else limits
    found = run_query(store, sql_or_name, values, limits=bounds)
    shown = found.head(bounds.rows)
    if as_json:
        print(json.dumps(finite(shown).to_dicts(), indent=2, default=str, allow_nan=False))
    else:
        console().print(framed(shown))
    if shown.height < found.height:
        Console(highlight=False, stderr=as_json).print("more rows; --limit 0 prints all")
    return None


def finite(frame: pl.DataFrame) -> pl.DataFrame:
    """Without numbers that JSON cannot hold: null in their place."""
    floats = selectors.float()
    return frame.with_columns(pl.when(floats.is_finite()).then(floats))


def catalogue(as_json: bool) -> None:
    """The named queries with what they take, and the views for SQL."""
    takes = {
        query: {p.name: "required" if p.required else p.default for p in query.parameters} for query in named().values()
    }
    if as_json:
        rows = [{"name": q.name, "description": q.description, "parameters": taken} for q, taken in takes.items()]
        print(json.dumps({"queries": rows, "views": list(VIEWS)}, indent=2))
        return
    table = Table("query", "what it answers", "--param", box=None, pad_edge=False)
    for query, taken in takes.items():
        table.add_row(query.name, query.description, " ".join(f"{name}={value}" for name, value in taken.items()))
    console().print(table)
    console().print(f"\nViews for SQL: {', '.join(VIEWS)}")


def trace(store: Store, artifact: str, as_json: bool) -> None:
    tree = ancestors(store, artifact)
    if as_json:
        print(json.dumps(as_dict(tree), indent=2))
    else:
        console().print(as_tree(tree))


def check(store: Store, wanted: Sequence[str], as_json: bool) -> int:
    """What was checked, the faults on standard error; exit status 2 if there are any."""
    from perseid.check import check as checked_below

    checked = checked_below(store, wanted)
    if as_json:
        print(json.dumps(asdict(checked), indent=2))
    else:
        for fault in checked.faults:
            print(f"fault: {' '.join(fault.split())}", file=sys.stderr)
        count = len(checked.faults)
        told = "all is as it was published" if not count else f"{count} fault{'s' if count > 1 else ''}"
        artifacts = f"{checked.artifacts} artifact{'s' * (checked.artifacts != 1)}"
        print(f"{artifacts}, {checked.files} files, {checked.bytes:,} bytes: {told}.")
    return 2 if checked.faults else 0


def as_dict(ancestor: Ancestor) -> dict[str, Any]:
    """`repeated` ancestors stand in full elsewhere in the tree."""
    return {
        "key": ancestor.key,
        "version": ancestor.version,
        "current": ancestor.current,
        "repeated": ancestor.repeated,
        "inputs": [as_dict(parent) for parent in ancestor.parents],
    }


def as_tree(ancestor: Ancestor, into: Tree | None = None) -> Tree:
    label = Text.assemble(f"perseid://{ancestor.key}", (f"@{ancestor.version}", "dim"), (note(ancestor), "yellow"))
    node = Tree(label) if into is None else into.add(label)
    for parent in ancestor.parents:
        as_tree(parent, node)
    return node


def note(ancestor: Ancestor) -> str:
    if ancestor.manifest is None:
        return "  (gone from the store)"
    if ancestor.repeated:
        return "  (see above)"
    return "" if ancestor.current else "  (not the current version)"


def framed(frame: pl.DataFrame) -> Table:
    table = Table(box=None, pad_edge=False)
    for name, dtype in frame.schema.items():
        table.add_column(
            Text(printable(name, WIDE)), justify="right" if dtype.is_numeric() else "left", overflow="fold"
        )
    for row in frame.iter_rows():
        table.add_row(*(cell(value) for value in row))
    return table


def cell(value: Any) -> Text:
    """Shares keep three digits; long texts are cut, and nothing in a text is obeyed by a terminal."""
    text = "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
    return Text(printable(text.replace("\n", " ⏎ "), WIDE))


def console() -> Console:
    """As wide as the table when it goes into a file."""
    screen = Console(highlight=False)
    return screen if screen.is_terminal else Console(highlight=False, width=240)
