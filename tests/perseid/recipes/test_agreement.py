"""What a file says that its recipe cannot follow is refused, and what it never reads is warned of."""

from typing import Any

import pytest
from pydantic import ValidationError

from perseid.consistency import without_effect
from perseid.experiment import Experiment
from perseid.mistakes import described

TOOLS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
PRETRAINED = {"policy": {"base": "pretrained", "from": "a/b"}}


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate({"name": "x", "problems": TOOLS, "rounds": [{}, {}], **changes})


def test_pairs_and_a_ppm_are_read_by_one_recipe_and_not_by_the_other() -> None:
    said: dict[str, Any] = {"selection": {"pairs": {"margin": 0.25}}, "training": {"ppm": {"epochs": 2}}}
    later = {**said, "rounds": [{}, {"training": {"ppm": {"epochs": 3}}}]}
    assert list(without_effect(experiment(recipe="rstar_math", **later))) == []
    none = "has no effect in the recipe rejection"
    assert list(without_effect(experiment(recipe="rejection", **later))) == [
        ("selection.pairs", none),
        ("training.ppm", none),
        ("rounds.2.training.ppm", none),
    ]
    assert list(without_effect(experiment(recipe="rejection"))) == []


def test_a_recipe_brings_the_kind_of_its_method_and_the_file_may_say_another() -> None:
    assert experiment(recipe="rejection").method.kind == "flat"
    three = experiment(method={"kind": "flat", "samples": 3})
    assert experiment(recipe="rejection", method={"samples": 3}).method == three.method
    assert experiment(recipe="rejection", method="rstar_math").method.kind == "rstar_math"
    assert experiment(recipe="rejection", method={"kind": "rstar_math"}).method.kind == "rstar_math"
    assert experiment().method.kind == "rstar_math"


def test_no_bootstrap_trains_a_base_that_there_is_already() -> None:
    said = {"training": {"bootstrap": {"steps": 7}}, "models": PRETRAINED}
    assert ("training.bootstrap", "has no effect in the recipe rstar_math") in list(without_effect(experiment(**said)))


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"method": {"ppm": True}}, "method.ppm", "expected false: the recipe rejection trains no PPM"),
        ({"rounds": [{}, {"method": {"ppm": True}}]}, "rounds.2.method.ppm", "the recipe rejection trains no PPM"),
    ],
)
def test_a_guide_that_nobody_trains_is_refused(changes: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(ValidationError) as found:
        experiment(recipe="rejection", **changes)
    where, what = described(found.value, Experiment)
    assert where == key
    assert expected in what
