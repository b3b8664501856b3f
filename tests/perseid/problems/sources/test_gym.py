"""Questions of reasoning-gym: the same everywhere, and what it does not have is said when the experiment is read."""
# ruff: noqa: E501  (a mistake is a line)

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from perseid.mistakes import described
from perseid.problems.making import first
from perseid.problems.settings import Problems
from perseid.problems.sources.gym import entries
from tests.perseid.problems.conftest import everything


def section(*data_sets: str, **more: Any) -> Problems:
    source = {"source": "gym", "data_sets": list(data_sets), "problems": 20, **more}
    return Problems.model_validate({"train": [source], "held_out": [{**source, "seed": 1}]})


def test_a_problem_has_its_data_set_as_facet_and_all_that_its_scorer_needs_as_gold(tmp_path: Path) -> None:
    items = everything(section("chain_sum", "gcd", name="sums"), tmp_path)
    assert {item.problem.kind for item in items} == {"gym"}
    assert {item.problem.source for item in items} == {"sums"}
    assert {item.facets["data_set"] for item in items} == {"chain_sum", "gcd"}
    for item in items:
        gold: Any = item.gold.answer
        assert gold["entry"]["question"] == item.problem.question
        assert (gold["data_set"], gold["config"]) == (item.facets["data_set"], {})


def test_another_seed_asks_others_and_a_question_that_is_held_out_is_searched_by_nobody(tmp_path: Path) -> None:
    found = first(section("chain_sum"), 0, tmp_path)
    assert found.rows == {"held_out": 20, "train": 20}
    assert len(found.held_out) > 18
    tiny = section("chain_sum", config={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}, problems=200)
    reasons = {one.reason for one in first(tiny, 0, tmp_path).skipped["train"]}
    assert reasons == {"its question is held out", "the same question with the same gold stands in an earlier row"}


@pytest.mark.parametrize("data_set", ["isomorphic_strings", "list_functions"])
def test_questions_do_not_depend_on_the_process_that_asks(data_set: str) -> None:
    """One walks through sets of texts, the other draws from the generator that all modules share."""
    code = (
        "import json; from perseid.problems.sources.gym import entries;"
        f"print(json.dumps(list(entries('{data_set}', {{}}, 3, 5))))"
    )
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("given", "where", "expected"),
    [
        ({"data_sets": ["chain_sm"]}, "data_sets.1", "reasoning-gym has no data set 'chain_sm' (did you mean chain_sum?)"),
        ({"data_sets": ["gcd", "composite"]}, "data_sets.2", "reasoning-gym has no data set 'composite'"),
        ({"config": {"min_terms": 0}}, "config", "expected settings of the data set chain_sum: min_terms must be"),
        ({"config": {"terms": 1}}, "config", "expected settings of the data set chain_sum: "),
    ],
)  # fmt: skip
def test_what_there_is_not_is_said_when_the_experiment_is_read(
    tmp_path: Path, given: dict[str, Any], where: str, expected: str
) -> None:
    source = {"source": "gym", "data_sets": "chain_sum", "problems": 5, **given}
    found = Problems.model_validate({"train": [source], "held_out": {"share": 0.5}}).unreadable(tmp_path)
    assert found is not None
    assert found[0] == f"problems.train.1.{where}"
    assert found[1].startswith(expected)


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"data_sets": []}, "data_sets"),
        ({"data_sets": ["gcd", "lcm"], "config": {"a": 1}}, "config"),
        ({"problems": 0}, "problems"),
        ({"kind": "number"}, "kind"),
    ],
)
def test_a_mistake_names_its_key(given: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section("gcd", **given)
    assert described(caught.value, Problems)[0] == f"train.1.{where}"


@pytest.mark.slow
def test_every_data_set_makes_questions_that_json_holds() -> None:
    import reasoning_gym

    lost = []
    for name in sorted(set(reasoning_gym.factory.DATASETS) - {"composite"}):
        try:
            made = list(entries(name, {}, 7, 3))
            assert json.loads(json.dumps(made)) == made
        except Exception as error:
            lost.append((name, error))
    assert lost == []
