"""Facets in tables: what results are grouped by."""

from collections.abc import Iterator
from typing import Final

import polars as pl

ALL: Final = "all"  # the facet, and its value, of everything together: no facet of a problem is called so
FEW: Final = range(2, 21)  # a facet with so many values is worth a row a value
MANY: Final = range(2, 61)  # or a bar


def groups(facets: pl.DataFrame, values: range = FEW) -> Iterator[tuple[str, pl.DataFrame]]:
    """By name, the rows of each facet that has so many values."""
    for (name,), rows in facets.sort("name", "value").group_by("name", maintain_order=True):
        if rows["value"].n_unique() in values:
            yield str(name), rows


def sizes(facets: pl.DataFrame, unit: str = "problems") -> pl.DataFrame:
    """How many problems have each value of each facet that has few: columns facet, value, `unit`."""
    few = pl.concat([facets.clear(), *(rows for _, rows in groups(facets, MANY))])
    return few.group_by(pl.col("name").alias("facet"), "value").len(unit).sort("facet", "value")


def wide(facets: pl.DataFrame) -> pl.DataFrame:
    """A row a problem, its facets as columns, null where it has none of that name."""
    if facets.is_empty():
        return facets.select("problem_id")
    return facets.pivot(on="name", index="problem_id", values="value")
