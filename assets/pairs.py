"""`pairs`: preference pairs of the round's trees, for the PPM."""

from assets.work import Made, Work
from perseid.methods import method_named
from perseid.pairs import build_pairs


def make(work: Work) -> Made:
    e, problems = work.experiment, work.read("problems", "problems")
    found = work.read_shards("nodes", "texts", "trajectories")
    pairs, rejects = build_pairs(found, problems, method_named(e.method), e.selection_of(work.round).pairs)
    work.table("pairs", pairs)
    work.table("pair_rejects", rejects)
    kinds = pairs.group_by("kind", "split").len("pairs").sort("kind", "split")
    return Made(metrics={"pairs": pairs.height}, tables={"pairs": kinds, "dropped": rejects, "a few": pairs.head(5)})
