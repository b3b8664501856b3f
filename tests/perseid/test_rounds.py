"""What a round changes, and what it may not."""

from typing import Any

import pytest
from pydantic import ValidationError

from perseid.engines import Transformers, Vllm
from perseid.experiment import Experiment
from perseid.mistakes import described
from perseid.rounds import COMMON, Round


def experiment(*rounds: dict[str, Any], **changes: Any) -> Experiment:
    problems = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
    return Experiment.model_validate({"name": "x", "problems": problems, "rounds": list(rounds), **changes})


def test_every_key_of_an_experiment_is_changed_by_rounds_or_is_common_to_them() -> None:
    keys = {*Round.model_fields, *COMMON} - {"pool"}
    assert keys >= set(Experiment.model_fields) - {"method"}
    assert keys <= set(Experiment.model_fields)


def test_a_round_sees_its_own_evaluation_pool_and_engine_and_others_see_theirs() -> None:
    e = experiment({}, {"evaluation": {"samples": 4}, "pool": {"demonstrated": 3}, "engine": {"batch": 7}})
    assert (e.at(1).evaluation, e.at(1).engine, e.at(1).problems) == (e.evaluation, e.engine, e.problems)
    assert e.at(2).evaluation == e.evaluation.model_copy(update={"samples": 4})
    assert e.at(2).engine == Transformers(batch=7)
    assert e.at(2).problems.pool == e.problems.pool.model_copy(update={"demonstrated": 3})
    assert e.at(0) is e


def test_a_round_with_another_kind_of_engine_takes_nothing_of_the_first() -> None:
    e = experiment({"engine": {"kind": "vllm", "memory_gib": 3.0}}, engine={"batch": 7})
    assert e.at(1).engine == Vllm(memory_gib=3.0)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"seed": 3}, "rounds.1.seed", "is the same in all rounds; expected what a round can change: pool, "),
        ({"models": {}}, "rounds.1.models", "is the same in all rounds"),
        ({"engine": {"kind": "vlm"}}, "rounds.1.engine.kind", "'vlm' is not known (did you mean vllm?)"),
        ({"engine": {"memory_gib": 3.0}}, "rounds.1.engine.memory_gib", "it is a key of kind vllm alone"),
        ({"evaluation": {"sampls": 3}}, "rounds.1.evaluation.sampls", "(did you mean samples?)"),
    ],
)
def test_what_a_round_cannot_change_is_said_in_a_line(changes: dict[str, Any], key: str, expected: str) -> None:
    with pytest.raises(ValidationError) as found:
        experiment(changes)
    where, what = described(found.value, Experiment)
    assert where == key
    assert expected in what
