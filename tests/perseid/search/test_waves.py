import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest

from models.engines.scripted import ScriptedEngine
from perseid.engine import Completion, Generate
from perseid.experiment import Search
from perseid.methods.rstar_math import METHOD
from perseid.sandbox import Sandbox
from perseid.search import SandboxFailure, Services, Tree, Update, run_searches, tables

SETTINGS = Search(candidates=4, rollouts=8, rollouts_unsolved=4, max_depth=4)


def rows(trees: Sequence[Tree]) -> dict[str, list[Any]]:
    return {name: frame.rows() for name, frame in tables(trees).items()}


def run(toy: Any, problems: Sequence[Any], settings: Search = SETTINGS, **services: object) -> list[Tree]:
    return run_searches(problems, METHOD, settings, 7, toy.services(100, **services))


@pytest.mark.parametrize("ppm", [False, True])
@pytest.mark.parametrize("shards", [2, 5])
def test_trees_are_the_same_however_problems_are_split_into_shards(toy: Any, shards: int, ppm: bool) -> None:
    problems, settings = toy.problems(11), SETTINGS.model_copy(update={"ppm": ppm})
    whole = run(toy, problems, settings)
    split = [tree for shard in range(shards) for tree in run(toy, problems[shard::shards], settings)]
    assert rows(split) == rows(whole)


def test_another_seed_gives_other_trees(toy: Any) -> None:
    problems = toy.problems(4)
    other = run_searches(problems, METHOD, SETTINGS, 8, toy.services(4))
    assert rows(other) != rows(run(toy, problems))


@dataclass
class Recording:
    """An engine that keeps the sizes of its batches."""

    engine: ScriptedEngine
    sizes: list[int]
    weights: str = "scripted"

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        self.sizes.append(len(requests))
        await asyncio.sleep(0)
        return await self.engine.generate(requests)


def test_every_live_tree_proposes_in_the_same_wave(toy: Any) -> None:
    engine = Recording(toy.engine, [])
    run(toy, toy.problems(10), engine=engine)
    assert engine.sizes[:3] == [40, 40, 40]
    assert engine.sizes == sorted(engine.sizes, reverse=True)


def test_progress_counts_trees_and_tokens(toy: Any) -> None:
    updates: list[Update] = []
    trees = run_searches(toy.problems(5), METHOD, SETTINGS, 7, toy.services(5), progress=updates.append)
    assert updates[-1] == Update(5, 5, sum(tree.solved for tree in trees), sum(tree.tokens for tree in trees))
    assert [update.done for update in updates] == sorted(update.done for update in updates)


def test_a_failing_sandbox_stops_the_run_and_is_never_a_reward(toy: Any) -> None:
    with pytest.raises(SandboxFailure, match="worker lost"):
        run(toy, toy.problems(5), sandbox=toy.interpreter(failing_at=60))


def test_a_step_is_run_from_its_parents_state_and_not_from_the_start(toy: Any) -> None:
    interpreter = toy.interpreter()
    trees = run(toy, toy.problems(6), SETTINGS.model_copy(update={"rollouts_unsolved": 0}), sandbox=interpreter)
    executed = sum(node.execution is not None for tree in trees for node in tree.nodes)
    rebuilt = interpreter.ran - executed
    widened = sum(node.samples > SETTINGS.candidates for tree in trees for node in tree.nodes)
    assert len(trees) <= rebuilt <= len(trees) + 2 * widened


def test_ppm_guided_search_needs_a_scorer(toy: Any) -> None:
    with pytest.raises(ValueError, match=r"search\.ppm"):
        run(toy, toy.problems(1), SETTINGS.model_copy(update={"ppm": True}), scorer=None)


def test_no_problems_give_no_trees_and_empty_tables(toy: Any) -> None:
    assert run(toy, []) == []
    assert {name: frame.height for name, frame in tables([]).items()} == dict.fromkeys(
        ("nodes", "texts", "trajectories", "searches"), 0
    )


def test_the_real_sandbox_and_an_interpreter_in_process_grow_the_same_trees(toy: Any) -> None:
    problems = toy.problems(4)
    with Sandbox() as sandbox:
        real = tables(run(toy, problems, sandbox=sandbox))
    fake = tables(run(toy, problems))
    assert real["trajectories"].equals(fake["trajectories"])
    assert real["nodes"].drop("tier").equals(fake["nodes"].drop("tier"))


def test_tables_are_sorted_whole_and_complete(toy: Any) -> None:
    trees = run(toy, toy.problems(8)[::-1])
    found = tables(trees)
    for name, keys in (("nodes", 2), ("texts", 2), ("trajectories", 3), ("searches", 1)):
        assert found[name].equals(found[name].sort(found[name].columns[:keys]))
    nodes, searches = found["nodes"], found["searches"]
    assert nodes.height == sum(len(tree.nodes) for tree in trees) == searches["nodes"].sum()
    assert found["texts"].height == nodes.height - len(trees)
    assert (
        found["trajectories"].height == nodes.filter(pl.col("status") == "answer").height == searches["answers"].sum()
    )
    assert nodes.filter(pl.col("answer").is_null() != pl.col("correct").is_null()).height == 0
    parents = nodes.select("problem_id", node_id="parent_id").filter(pl.col("node_id") != "")
    assert parents.join(nodes, on=["problem_id", "node_id"], how="anti").height == 0


def test_a_trajectory_has_the_mean_and_minimum_of_q_along_its_path(toy: Any) -> None:
    found = tables(run(toy, toy.problems(3)))
    q = {(p, n): value for p, n, value in found["nodes"].select("problem_id", "node_id", "q").iter_rows()}
    text = {(p, n): value for p, n, value in found["texts"].select("problem_id", "node_id", "text").iter_rows()}
    for row in found["trajectories"].iter_rows(named=True):
        problem_id, parts = row["problem_id"], row["node_id"].split(".")
        path = [".".join(parts[:end]) for end in range(2, len(parts) + 1)]
        values = [q[problem_id, node_id] for node_id in path]
        response = "".join(text[problem_id, node_id] for node_id in path)
        assert (row["mean_q"], row["min_q"]) == (pytest.approx(sum(values) / len(values)), min(values))
        assert row["steps"] == len(path)
        assert row["trajectory_id"] == hashlib.sha256(f"{problem_id}\0{response}".encode()).hexdigest()[:16]


def test_inference_grows_a_tree_without_verdicts(toy: Any) -> None:
    services: Services = replace(toy.services(3), grader=None)
    trees = run_searches(toy.problems(3), METHOD, SETTINGS.model_copy(update={"ppm": True}), 7, services)
    found = tables(trees)
    assert found["nodes"]["correct"].null_count() == found["nodes"].height
    assert not found["searches"]["solved"].any()
    assert found["trajectories"].height > 0
