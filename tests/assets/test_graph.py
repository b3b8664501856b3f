"""The unrolled graph: its shape as a snapshot, and what makes an asset stale."""

from typing import Any

import pytest

from assets.graph import inputs_of, of_rounds, settings_of, unroll
from perseid.experiment import Experiment
from perseid.recipes import recipe_named, recipes

PROBLEMS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}


def experiment(**changes: Any) -> Experiment:
    rounds = [{}, {"method": {"ppm": True}}]
    return Experiment.model_validate(
        {"name": "x", "problems": PROBLEMS, "control": {}, "shards": 2, "rounds": rounds, **changes}
    )


def edges(e: Experiment) -> dict[str, list[str]]:
    return {key.removeprefix("x/"): [i.removeprefix("x/") for i in node.inputs] for key, node in unroll(e).items()}


def stale(before: Experiment, after: Experiment) -> set[str]:
    """Keys of the nodes of both whose code version changes."""
    old, new = unroll(before), unroll(after)
    return {key.removeprefix("x/") for key in old if key in new and old[key].code_version != new[key].code_version}


def test_the_graph_of_two_rounds_with_a_control_is_this_one() -> None:
    assert edges(experiment()) == {
        "problems": [],
        "round_00/policy": ["problems"],
        "round_00/evaluation": ["problems", "round_00/policy"],
        "round_01/pool": ["problems"],
        "round_01/trajectories": ["round_01/pool", "round_00/policy"],
        "round_01/verified": ["round_01/pool", "round_01/trajectories"],
        "round_01/pairs": ["round_01/pool", "round_01/trajectories"],
        "round_01/policy": ["problems", "round_00/policy", "round_01/verified"],
        "round_01/control": ["problems", "round_00/policy"],
        "round_01/ppm": ["round_01/policy", "round_01/pairs"],
        "round_01/evaluation": [
            "problems",
            "round_01/pool",
            "round_01/policy",
            "round_01/control",
            "round_01/ppm",
            "round_01/verified",
            "round_00/evaluation",
        ],
        "round_02/pool": ["problems", "round_01/pool"],
        "round_02/trajectories": ["round_02/pool", "round_01/policy", "round_01/ppm"],
        "round_02/verified": ["round_02/pool", "round_02/trajectories"],
        "round_02/pairs": ["round_02/pool", "round_02/trajectories"],
        "round_02/policy": ["problems", "round_00/policy", "round_01/verified", "round_02/verified"],
        "round_02/ppm": ["round_02/policy", "round_01/pairs", "round_02/pairs"],
        "round_02/evaluation": [
            "problems",
            "round_01/pool",
            "round_02/pool",
            "round_02/policy",
            "round_01/control",
            "round_02/ppm",
            "round_02/verified",
            "round_00/evaluation",
            "round_01/evaluation",
        ],
    }


def test_the_graph_of_rejection_sampling_has_no_pairs_and_no_ppm() -> None:
    """With the arm that nobody verified, which every round has."""
    found = edges(experiment(recipe="rejection", control={"kind": "unverified"}, rounds=[{}, {}]))
    assert found == {
        "problems": [],
        "round_00/policy": ["problems"],
        "round_00/evaluation": ["problems", "round_00/policy"],
        "round_01/pool": ["problems"],
        "round_01/samples": ["round_01/pool", "round_00/policy"],
        "round_01/verified": ["round_01/pool", "round_01/samples"],
        "round_01/policy": ["round_00/policy", "round_01/verified"],
        "round_01/unverified": ["round_01/pool", "round_01/samples", "round_01/verified"],
        "round_01/control": ["round_00/policy", "round_01/unverified"],
        "round_01/evaluation": [
            "problems",
            "round_01/pool",
            "round_01/policy",
            "round_01/control",
            "round_01/verified",
            "round_00/evaluation",
        ],
        "round_02/pool": ["problems", "round_01/pool"],
        "round_02/samples": ["round_02/pool", "round_01/policy"],
        "round_02/verified": ["round_02/pool", "round_02/samples"],
        "round_02/policy": ["round_00/policy", "round_01/verified", "round_02/verified"],
        "round_02/unverified": ["round_02/pool", "round_02/samples", "round_02/verified"],
        "round_02/control": ["round_00/policy", "round_01/unverified", "round_02/unverified"],
        "round_02/evaluation": [
            "problems",
            "round_01/pool",
            "round_02/pool",
            "round_02/policy",
            "round_02/control",
            "round_02/verified",
            "round_00/evaluation",
            "round_01/evaluation",
        ],
    }


@pytest.mark.parametrize("recipe", recipes())
def test_a_pretrained_base_is_pointed_to_and_reads_no_problems(recipe: str) -> None:
    e = experiment(recipe=recipe, models={"policy": {"base": "pretrained", "from": "a/b"}}, rounds=[{}])
    stage = recipe_named(recipe).stages(e, 0)[0]
    assert (stage.does, stage.inputs) == ("pretrained", {})


def test_a_round_that_trains_otherwise_has_a_control_of_its_own() -> None:
    graph = edges(experiment(rounds=[{}, {"training": {"policy": {"steps": 7}}}]))
    assert "round_02/control" in graph
    assert "round_02/control" in graph["round_02/evaluation"]


def test_where_epochs_say_how_long_a_policy_trains_each_round_s_control_is_told_by_it() -> None:
    graph = edges(experiment(training={"policy": {"epochs": 2}}))
    for number in (1, 2):
        control = graph[f"round_{number:02d}/control"]
        assert control == ["problems", "round_00/policy", f"round_{number:02d}/policy"]
    e = experiment(training={"policy": {"epochs": 2}}, control={"kind": "unverified"}, recipe="rejection", rounds=[{}])
    assert unroll(e)["x/round_01/control"].roles["pace"] == ("x/round_01/policy",)


def test_rounds_that_differ_in_what_no_control_reads_share_one() -> None:
    of_the_policy = {"verified_weight": 9, "history": "this_round"}
    graph = edges(experiment(rounds=[{}, {"training": {"policy": of_the_policy}}]))
    assert "round_02/control" not in graph
    assert "round_01/control" in graph["round_02/evaluation"]


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
        "x/round_01/pool",
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


def test_one_more_round_leaves_all_that_is_there_as_it_is() -> None:
    rounds = [{}, {"method": {"ppm": True}}]
    short, long = unroll(experiment(rounds=rounds)), unroll(experiment(rounds=[*rounds, {}]))
    assert {key: node for key, node in long.items() if "round_03" not in key} == short


def test_an_override_of_one_round_leaves_the_others_fresh() -> None:
    changed = experiment(rounds=[{}, {"method": {"ppm": True, "rollouts": 3}}])
    assert stale(experiment(), changed) == {"round_02/trajectories"}
    harder = experiment(rounds=[{}, {"method": {"ppm": True}, "pool": {"undemonstrated": 3}}])
    assert stale(experiment(), harder) == {"round_02/pool"}


def test_an_override_that_says_what_stands_there_anyway_changes_nothing() -> None:
    said = [{"method": {"rollouts": 16}, "training": {"ppm": {"epochs": 1}}}, {"method": {"ppm": True}}]
    assert stale(experiment(), experiment(rounds=said)) == set()


def test_the_name_and_words_of_an_experiment_change_no_version() -> None:
    named = {node.code_version for node in unroll(experiment(name="y", description="words")).values()}
    assert named == {node.code_version for node in unroll(experiment()).values()}


def test_the_settings_of_a_node_are_all_that_it_reads_defaults_too_and_nothing_else() -> None:
    e = experiment(rounds=[{}, {"selection": {"pairs": {"margin": 0.25}}}])
    graph = unroll(e)
    pairs = {"positives": 2, "negatives": 2, "margin": 0.25, "min_edit": 20, "final": True, "held_out": 0.25}
    assert settings_of(e, graph["x/round_02/pairs"]) == {"selection.pairs": pairs}
    assert settings_of(e, graph["x/round_01/verified"]) == {"selection": {"top": 2, "grounded": False, "balance": 0.0}}
    assert "history" not in settings_of(e, graph["x/round_01/policy"])["training.policy"]
