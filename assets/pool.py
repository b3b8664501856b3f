"""`pool`: what a round searches: the problems, what is known of them, and the answers apart from them."""

import polars as pl

from assets.problems import KNOWN, every, facets_of, frames_of, problems_of, refuse_overlaps
from assets.work import Made, Work
from perseid.problems.facets import sizes
from perseid.problems.making import drawn

VERSION = 2  # a problem is a question and the kind of its answer; what else is known of it are facets


def make(work: Work) -> Made:
    e, before = work.settings, {name: every(work, name) for name in KNOWN}
    known = facets_of(before["facets"])
    asked = [(problem, known.get(problem.problem_id, {})) for problem in problems_of(before["problems"])]
    tables = frames_of({"pool": drawn(e.problems, e.seed, work.root, work.round, asked)}, work.round)
    together = {name: pl.concat([before[name], tables[name]]).unique() for name in KNOWN}
    refuse_overlaps(work, together, work.read("problems", "demonstrations"))
    for name, table in tables.items():
        work.table(name, table)
    return Made(metrics={"problems": tables["problems"].height}, tables={"facets": sizes(tables["facets"])})
