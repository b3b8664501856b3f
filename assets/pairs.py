"""`pairs`: preference pairs of the round's trees, for the PPM."""

from assets.work import Made, Work
from perseid.selection.pairs import build_pairs

VERSION = 4  # question and prefix stand in columns of their own


def make(work: Work) -> Made:
    problems = work.read("pool", "problems")
    found = work.trees("nodes", "texts", "trajectories")
    pairs, rejects = build_pairs(found, problems, work.format, work.settings.selection.pairs)
    work.table("pairs", pairs)
    work.table("pair_rejects", rejects)
    kinds = pairs.group_by("kind", "split").len("pairs").sort("kind", "split")
    return Made(metrics={"pairs": pairs.height}, tables={"pairs": kinds, "dropped": rejects, "a few": pairs.head(5)})
