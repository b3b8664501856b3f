"""`pool`: what a round searches: the problems, what is known of them, and the answers apart from them."""

import polars as pl

from assets.problems import (
    KNOWN,
    every,
    facets_of,
    frames_of,
    golds_without_use,
    problems_of,
    refuse_changed,
    refuse_overlaps,
)
from assets.work import Made, Work
from perseid.problems import Problem
from perseid.problems.facets import sizes
from perseid.problems.making import Before, drawn
from perseid.problems.splits import as_compared

VERSION = 2  # a problem is a question and the kind of its answer; what else is known of it are facets


def make(work: Work) -> Made:
    e, known = work.settings, {name: every(work, name) for name in KNOWN}
    items = drawn(e.problems, e.seed, work.root, work.round, before(work, known))
    tables, useless = frames_of({"pool": items}, work.round), golds_without_use(work, items)
    refuse_changed(work)
    together = {name: pl.concat([known[name], tables[name]]).unique() for name in KNOWN}
    refuse_overlaps(work, together, work.read("problems", "demonstrations"))
    for name, table in tables.items():
        work.table(name, table)
    searched = known["pools"].filter(split="pool")["problem_id"].unique().implode()
    again = tables["problems"].filter(pl.col("problem_id").is_in(searched)).height
    metrics = {"problems": tables["problems"].height, "problems searched before": again}
    metrics |= {"golds that cannot be read": useless} if useless else {}
    return Made(metrics=metrics, tables={"facets": sizes(tables["facets"])})


def before(work: Work, known: dict[str, pl.DataFrame]) -> Before:
    """All that was asked, and what may not be searched."""
    facets, problems = facets_of(known["facets"]), problems_of(known["problems"])
    pools = known["pools"]
    times = pools.filter(split="pool").group_by("problem_id").len()
    held_out = frozenset(pools.filter(split="held_out")["problem_id"])
    skipped = work.read("problems", "skipped").filter(side="train")["row"]
    return Before(
        [(problem, facets.get(problem.problem_id, {})) for problem in problems],
        dict(times.iter_rows()),
        frozenset(questions_of(problems, held_out)),
        frozenset(skipped),
    )


def questions_of(problems: list[Problem], wanted: frozenset[str]) -> list[str]:
    return [as_compared(problem.question) for problem in problems if problem.problem_id in wanted]
