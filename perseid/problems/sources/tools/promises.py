"""What the toy promises of its splits."""

import polars as pl

APART = (("new_wording", ["family", "wording"]), ("new_composition", ["family", "composition"]))


def broken(placed: pl.DataFrame) -> pl.DataFrame:
    """Held-out problems of a new wording (composition) that training sees as well; problems that are asked twice."""
    columns = ["problem_id", "family", "composition", "wording", "part"]
    missing = [pl.lit(None, pl.String).alias(name) for name in columns if name not in placed.columns]
    placed = placed.with_columns(missing)
    trained, held_out = (placed.filter((pl.col("split") == "held_out") == side) for side in (False, True))
    seen = [
        held_out.filter(pl.col("part") == part).join(trained, on=keys, how="semi", nulls_equal=True)
        for part, keys in APART
    ]
    twice = placed.filter(pl.col("question").is_duplicated())
    return pl.concat([*seen, twice]).select(columns).unique().sort("problem_id")
