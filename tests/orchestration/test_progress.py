"""The estimate of the time that is left."""

from assets.freshness import Unit
from assets.graph import Node
from orchestration.progress import USUAL_S, Estimate


def unit(stage: str) -> Unit:
    node = Node("x", stage, 1, does=stage, reads=(), uses=(), roles={}, code_version="code")
    return Unit(node, None, node.key)


def test_a_stage_that_is_not_known_is_estimated_like_a_middling_one() -> None:
    estimate = Estimate([unit("policy"), unit("distilled"), unit("pairs")])
    assert min(USUAL_S.values()) < estimate.of(unit("distilled")) < max(USUAL_S.values())
    assert estimate.left(0, 0.0, 0.0) == sum(estimate.of(each) for each in estimate.plan)


def test_what_a_stage_that_is_not_known_took_is_believed() -> None:
    estimate = Estimate([unit("distilled")])
    estimate.note(unit("distilled"), 90.0)
    assert estimate.of(unit("distilled")) == 90.0
    assert estimate.of(unit("policy")) > USUAL_S["policy"]
