"""`evaluation`: the fixed held-out problems, answered by the round's policy and its control."""

from assets.work import Made, Work


def make(work: Work) -> Made:
    raise NotImplementedError
