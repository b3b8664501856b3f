"""`pool`: the questions that a round searches, new to all that was asked before, and the answers apart from them."""

import polars as pl

from assets.problems import gold_frame, problem_frame, problems_of, refuse_overlaps
from assets.work import Made, Work
from perseid.problems import draw_pool

VERSION = 1  # the first


def make(work: Work) -> Made:
    e, before = work.settings, pl.concat([work.read("problems", "problems"), work.read("asked", "problems")])
    drawn = draw_pool(e.problems, e.seed, work.round, problems_of(before))
    problems = problem_frame(drawn)
    refuse_overlaps(work, pl.concat([before, problems]), work.read("problems", "demonstrations"))
    work.table("problems", problems)
    work.table("gold", gold_frame(drawn))
    sizes = problems.group_by("family", "composition").len("problems").sort("family", "composition")
    return Made(metrics={"problems": problems.height}, tables={"problems": sizes})
