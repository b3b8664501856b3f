"""`unverified`: as many of the round's answers as were verified, right or not, for the arm without verification."""

from assets.work import Made, Work
from perseid.selection.unverified import draw

VERSION = 1  # the first


def make(work: Work) -> Made:
    e, problems, found = work.settings, work.read("pool", "problems"), work.trees("texts", "trajectories")
    count = work.read("verified", "verified").height
    drawn = draw(found, problems, work.format, e.selection.top, count, e.seed)
    work.table("unverified", drawn)
    right = sum(drawn["correct"].fill_null(False)) / max(1, drawn.height)
    return Made(metrics={"trajectories": drawn.height, "right": right}, tables={"a few": drawn.head(5)})
