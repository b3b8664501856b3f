"""The unrolled graph: its shape as a snapshot, and what makes an asset stale."""

from typing import Any

import pytest

from assets.graph import STAGES, inputs_of, of_rounds, unroll
from perseid.experiment import Experiment

PROBLEMS = {"demonstrated": ["gcd"], "undemonstrated": ["lcm"]}


def experiment(**changes: Any) -> Experiment:
    rounds = [{}, {"search": {"ppm": True}}]
    return Experiment.model_validate(
        {"name": "x", "problems": PROBLEMS, "control": {}, "shards": 2, "rounds": rounds, **changes}
    )


def edges(e: Experiment) -> dict[str, list[str]]:
    return {key.removeprefix("x/"): [i.removeprefix("x/") for i in node.inputs] for key, node in unroll(e).items()}


def test_the_graph_of_two_rounds_with_a_control_is_this_one() -> None:
    assert edges(experiment()) == {
        "problems": [],
        "round_00/policy": ["problems"],
        "round_00/evaluation": ["problems", "round_00/policy"],
        "round_01/trajectories": ["problems", "round_00/policy"],
        "round_01/verified": ["problems", "round_01/trajectories"],
        "round_01/pairs": ["problems", "round_01/trajectories"],
        "round_01/policy": ["problems", "round_00/policy", "round_01/verified"],
        "round_01/control": ["problems", "round_00/policy"],
        "round_01/ppm": ["round_01/policy", "round_01/pairs"],
        "round_01/evaluation": [
            "problems",
            "round_01/policy",
            "round_01/control",
            "round_01/ppm",
            "round_01/verified",
            "round_00/evaluation",
        ],
        "round_02/trajectories": ["problems", "round_01/policy", "round_01/ppm"],
        "round_02/verified": ["problems", "round_02/trajectories"],
        "round_02/pairs": ["problems", "round_02/trajectories"],
        "round_02/policy": ["problems", "round_00/policy", "round_01/verified", "round_02/verified"],
        "round_02/ppm": ["round_02/policy", "round_01/pairs", "round_02/pairs"],
        "round_02/evaluation": [
            "problems",
            "round_02/policy",
            "round_01/control",
            "round_02/ppm",
            "round_02/verified",
            "round_00/evaluation",
            "round_01/evaluation",
        ],
    }


def test_a_round_that_trains_otherwise_has_a_control_of_its_own() -> None:
    graph = edges(experiment(rounds=[{}, {"training": {"policy": {"steps": 7}}}]))
    assert "round_02/control" in graph
    assert "round_02/control" in graph["round_02/evaluation"]


def test_without_a_control_and_with_this_rounds_history_the_edges_go() -> None:
    this = {"policy": {"history": "this_round"}, "ppm": {"history": "this_round"}}
    graph = edges(experiment(control=None, training=this))
    assert graph["round_02/policy"] == ["problems", "round_00/policy", "round_02/verified"]
    assert graph["round_02/ppm"] == ["round_02/policy", "round_02/pairs"]
    assert not any("control" in key for key in graph)


def test_every_input_stands_before_what_reads_it() -> None:
    seen: set[str] = set()
    for key, node in unroll(experiment()).items():
        assert set(node.inputs) <= seen
        seen.add(key)


def test_a_sharded_input_counts_every_shard() -> None:
    graph = unroll(experiment())
    assert inputs_of(graph, graph["x/round_01/verified"]) == (
        "x/problems",
        "x/round_01/trajectories/000",
        "x/round_01/trajectories/001",
    )


def test_groups_sort_by_round() -> None:
    groups = list(dict.fromkeys(node.group for node in unroll(experiment()).values()))
    assert groups == sorted(groups) == ["x", "x__round_00", "x__round_01", "x__round_02"]


def test_the_first_rounds_are_the_same_graph() -> None:
    whole = unroll(experiment())
    first = of_rounds(whole, 1)
    assert [key for key in whole if "round_02" not in key] == list(first)
    assert of_rounds(whole, 2) == whole


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"evaluation": {"samples": 4}}, {"evaluation"}),
        ({"selection": {"top": 3}}, {"verified"}),
        ({"selection": {"pairs": {"margin": 0.1}}}, {"pairs"}),
        ({"training": {"ppm": {"epochs": 2}}}, {"ppm"}),
        ({"training": {"policy": {"steps": 7}}}, {"policy", "control"}),
        ({"training": {"bootstrap": {"steps": 7}}}, {"base"}),
        ({"base": {"layers": 1}}, {"base"}),
        ({"gate": {"confidence": 0.9}}, set()),
        ({"description": "words"}, set()),
        ({"name": "y"}, set()),
        ({"shards": 3}, {"trajectories"}),
        ({"seed": 1}, set(STAGES) | {"base"}),
    ],
)
def test_a_setting_changes_the_code_version_of_the_stages_that_read_it(changes: Any, stale: set[str]) -> None:
    assert {
        "base" if (node.stage, node.round) == ("policy", 0) else node.stage
        for node, other in zip(unroll(experiment()).values(), unroll(experiment(**changes)).values(), strict=True)
        if node.code_version != other.code_version
    } == stale


def test_an_override_of_one_round_leaves_the_others_fresh() -> None:
    changed = experiment(rounds=[{}, {"search": {"ppm": True, "rollouts": 3}}])
    pairs = zip(unroll(experiment()).values(), unroll(changed).values(), strict=True)
    assert {a.key for a, b in pairs if a.code_version != b.code_version} == {"x/round_02/trajectories"}
