"""What looks at a graph knows what a stage does and in which role its inputs stand, and no stage by its name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.freshness import input_versions, survey, units
from assets.gate import judged_policy, judges, policy_of
from assets.graph import Graph, roles_of, unroll
from assets.policy import taught
from assets.registry import is_registered
from assets.work import Plan, Work, present_inputs
from orchestration.progress import Estimate
from orchestration.schedules import next_units
from perseid.artifacts import Facts, Manifest, Store
from perseid.experiment import Experiment
from perseid.recipes import Recipe, Refs, Stage, recipe_named, recipes
from perseid.recipes.stage import Round
from perseid.tables import frame

CONTROLS = ("demonstrations_only", "unverified")
EITHER = pytest.mark.parametrize("recipe", recipes())


def experiment(recipe: str, control: str = "unverified") -> Experiment:
    problems = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
    rest: dict[str, Any] = {"control": {"kind": control}, "shards": 2, "rounds": [{}, {}]}
    return Experiment.model_validate({"name": "x", "problems": problems, "recipe": recipe, **rest})


class Renamed:
    """A recipe whose stages are called otherwise, and are the same."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def stages(self, e: Experiment, round: Round) -> Sequence[Stage]:
        return [self.renamed(stage) for stage in self.recipe.stages(e, round)]

    def renamed(self, stage: Stage) -> Stage:
        inputs = {role: Refs(refs.of, name(refs.stage), refs.number) for role, refs in stage.inputs.items()}
        return replace(stage, name=name(stage.name), inputs=inputs)


def name(stage: str) -> str:
    return f"my_{stage[::-1]}"


def renamed(key: str) -> str:
    place, _, stage = key.rpartition("/")
    return f"{place}/{name(stage)}"


def both(recipe: str, control: str = "unverified") -> tuple[Graph, Graph]:
    e = experiment(recipe, control)
    return unroll(e), unroll(e, Renamed(recipe_named(recipe)))


def publish(store: Store, graph: Graph, last: int) -> None:
    """Everything up to round `last`, without being computed."""
    for unit in units(graph):
        if (unit.node.round or 0) <= last:
            versions = input_versions(graph, unit.node, store)
            assert versions is not None
            with store.draft(unit.key) as draft:
                draft.path("content").write_text(unit.key)
                roles = Facts(roles=roles_of(graph, unit.node))
                draft.publish(unit.node.code_version, versions, roles)


@EITHER
@pytest.mark.parametrize("control", CONTROLS)
def test_what_a_stage_is_called_decides_nothing_but_its_key(recipe: str, control: str) -> None:
    before, after = both(recipe, control)
    assert list(after) == [renamed(key) for key in before]
    for key, node in before.items():
        other = after[renamed(key)]
        assert (other.code_version, other.does, other.shards) == (node.code_version, node.does, node.shards)
        assert dict(other.roles) == {role: tuple(map(renamed, keys)) for role, keys in node.roles.items()}


@EITHER
def test_freshness_and_the_schedule_go_by_the_graph(recipe: str, tmp_path: Path) -> None:
    found = []
    for graph, told in zip(both(recipe), (renamed, str), strict=True):
        store = Store(tmp_path / str(len(found)))
        publish(store, graph, 1)
        fresh = {told(unit.node.key) for unit in units(graph) if survey(graph, store)[unit.key] is not None}
        found.append((fresh, [told(unit.node.key) for unit in next_units(graph, store)]))
    assert found[0] == found[1]
    assert {key.split("/")[1] for key in found[0][0]} == {"round_00", "round_01", name("problems")}
    assert found[0][1] == [f"x/round_02/{name('pool')}"]


@EITHER
def test_gate_and_registry_find_policies_by_what_reads_and_makes_them(recipe: str) -> None:
    before, after = both(recipe)
    for number in range(3):
        assert policy_of(before, number) == f"x/round_{number:02d}/policy"
        assert policy_of(after, number) == renamed(f"x/round_{number:02d}/policy")
    assert policy_of(before, 3) is None
    for looks in (judges, is_registered):
        assert [renamed(key) for key, node in before.items() if looks(node)] == [
            k for k, n in after.items() if looks(n)
        ]
    registered = {node.stage for node in before.values() if is_registered(node)}
    assert registered == ({"policy", "ppm"} if recipe == "rstar_math" else {"policy"})


@EITHER
def test_whom_an_evaluation_is_of_stands_in_its_manifest_or_where_nobody_recorded_it_in_the_graph(recipe: str) -> None:
    e, policy = experiment(recipe), "x/round_01/policy"
    told = {"version": "e" * 16, "code_version": "c" * 16, "git_commit": "", "created": ""}
    none: dict[str, Any] = {"row_counts": {}, "files": {}, "packages": {}}
    inputs = {policy: "a" * 16, "x/y": "b" * 16}
    made = Manifest(key="x/round_01/evaluation", inputs=inputs, **told, **none)
    assert judged_policy(e, made).version == "a" * 16
    assert judged_policy(e, made.model_copy(update={"roles": {"policy": ("x/y",)}})).version == "b" * 16


@EITHER
def test_the_time_that_is_left_is_estimated_by_what_stages_do(recipe: str) -> None:
    before, after = (Estimate(list(units(graph))) for graph in both(recipe))
    assert before.left(0, 0.0, 0.0) == after.left(0, 0.0, 0.0) > 0.0


@EITHER
def test_a_policy_learns_whatever_its_stages_are_called(recipe: str, tmp_path: Path) -> None:
    """And what was found again in a later round counts once."""
    found = []
    for graph, called in zip(both(recipe), (str, renamed), strict=True):
        store = Store(tmp_path / str(len(found)))
        again, other = verified(1), verified(2)
        for key, rows in (("x/round_01/verified", [again]), ("x/round_02/verified", [again, other])):
            publish_table(store, called(key), "verified", frame("verified", rows))
        publish_table(store, called("x/problems"), "demonstrations", frame("demonstrations", []))
        publish_table(store, called("x/round_00/policy"), "training", frame("training", []))
        plan = Plan(experiment(recipe), graph, graph[called("x/round_02/policy")])
        none: Any = None
        work = Work(plan, None, store, none, none, none, none, present_inputs(plan, store))
        found.append(taught(work).select("example_id", "source", "round").rows())
    assert found[0] == found[1] == [(f"{n:016x}", "verified", n) for n in (1, 2)]


def verified(number: int) -> tuple[Any, ...]:
    return (f"{number:016x}", f"p{number}", "GCD of 4, 6", "print(2)", "2", 1.0, 1.0, 1)


def publish_table(store: Store, key: str, table: str, rows: pl.DataFrame) -> None:
    with store.draft(key) as draft:
        draft.table(table, rows)
        draft.publish("code", {})
