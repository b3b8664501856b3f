"""What an experiment says that its recipe cannot do, or never reads."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from perseid.recipes import recipe_named

if TYPE_CHECKING:
    from perseid.experiment import Experiment
    from perseid.recipes.stage import Stage

PARTS: Final = ("selection.pairs", "training.bootstrap", "training.ppm")  # that a recipe may have no use for
Found = tuple[str, str]  # a key, and what was expected there


def contradiction(e: Experiment) -> Found | None:
    """The first key that the recipe cannot follow, and what was expected; None if there is none."""
    return _nothing_to_begin_with(e) or _nothing_for_the_control(e) or _guide_that_nobody_trains(e)


def without_effect(e: Experiment) -> Iterator[Found]:
    """Parts that were changed and that no stage reads, each with the reason."""
    stages = stages_of(e)
    for path in PARTS:
        if any(_reads(stage, path) for stage in stages):
            continue
        for number in range(len(e.rounds) + 1):
            parent, _, name = path.rpartition(".")
            section = attrgetter(parent)(e.at(number))
            own = attrgetter(parent)(e) if number else None
            before = type(section).model_fields[name].default if own is None else getattr(own, name)
            if getattr(section, name) != before:
                yield f"rounds.{number}.{path}" if number else path, f"has no effect in the recipe {e.recipe}"


def _reads(stage: Stage, path: str) -> bool:
    """Whether a stage reads the part, itself or with what it is a part of, and does not leave it out."""
    inside = any(path == whole or path.startswith(f"{whole}.") for whole in stage.reads)
    return inside and f"-{path}" not in stage.reads


def stages_of(e: Experiment) -> list[Stage]:
    """Of all rounds."""
    recipe = recipe_named(e.recipe)
    return [stage for number in (None, *range(len(e.rounds) + 1)) for stage in recipe.stages(e, number)]


def _nothing_to_begin_with(e: Experiment) -> Found | None:
    """A base that is made from nothing learns to write from demonstrations."""
    if e.models.policy.base == "pretrained" or _demonstrates(e):
        return None
    return "problems.train", "expected a source that demonstrates (tools): the base is made from nothing"


def _nothing_for_the_control(e: Experiment) -> Found | None:
    if e.control is None or e.control.kind == "unverified" or _demonstrates(e):
        return None
    return "control.kind", "expected unverified: no source of these problems demonstrates anything"


def _guide_that_nobody_trains(e: Experiment) -> Found | None:
    if any(stage.does == "ppm" for stage in recipe_named(e.recipe).stages(e, 1)):
        return None
    for number in range(len(e.rounds) + 1):
        if e.at(number).method.ppm:
            key = "method.ppm" if e.method.ppm else f"rounds.{number}.method.ppm"
            return key, f"expected false: the recipe {e.recipe} trains no PPM"
    return None


def _demonstrates(e: Experiment) -> bool:
    return any(source.demonstrates for source in e.problems.train)
