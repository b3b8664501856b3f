import asyncio
import gc
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from models.engines.scripted import ScriptedEngine
from perseid.engine import Completion, EngineFailure, Generate
from perseid.formats import TOOLS
from perseid.formats.tools import Tools
from perseid.graders import Judge
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems import Gold
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Node, SandboxFailure, Services, Tree, Update, drive, run_searches
from perseid.search.rows import tables
from perseid.tables import validate

SETTINGS = Settings(candidates=4, rollouts=8, rollouts_unsolved=4, max_depth=4)
METHOD = RStarMath(SETTINGS, TOOLS)


def rows(trees: Sequence[Tree]) -> dict[str, list[Any]]:
    return {name: frame.rows() for name, frame in tables(trees).items()}


def run(toy: Any, problems: Sequence[Any], settings: Settings = SETTINGS, **services: object) -> list[Tree]:
    return run_searches(problems, RStarMath(settings, TOOLS), 7, toy.services(100, **services))


@pytest.mark.parametrize("ppm", [False, True])
@pytest.mark.parametrize("shards", [2, 5])
def test_trees_are_the_same_however_problems_are_split_into_shards(toy: Any, shards: int, ppm: bool) -> None:
    problems, settings = toy.problems(11), SETTINGS.model_copy(update={"ppm": ppm})
    whole = run(toy, problems, settings)
    split = [tree for shard in range(shards) for tree in run(toy, problems[shard::shards], settings)]
    assert rows(split) == rows(whole)


@pytest.mark.parametrize("ppm", [False, True])
@pytest.mark.parametrize("live_trees", [1, 3, 100])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trees_are_the_same_whatever_the_order_of_answers(toy: Any, seed: int, live_trees: int, ppm: bool) -> None:
    problems, settings = toy.problems(9), SETTINGS.model_copy(update={"ppm": ppm})
    services = replace(toy.late(100, seed), live_trees=live_trees)
    assert rows(run_searches(problems, RStarMath(settings, TOOLS), 7, services)) == rows(run(toy, problems, settings))


def test_an_engine_that_batches_continuously_is_kept_full_and_no_more_than_that(toy: Any) -> None:
    services = toy.late(40)
    run_searches(toy.problems(40), METHOD, 7, services)
    assert 16 <= services.engine.most <= 4 * 16 + SETTINGS.candidates


def test_the_least_advanced_tree_goes_first(toy: Any) -> None:
    """With room for one expansion at a time no tree begins a rollout before all others have ended the one before."""

    @dataclass
    class Turns:
        weights: str = "scripted"
        concurrency: int = 1
        seen: dict[str, int] = field(default_factory=dict)
        most_ahead: int = 0

        async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
            question = requests[0].prompt.text.split("<|steps|>")[0]
            self.seen[question] = self.seen.get(question, 0) + 1
            if len(self.seen) == 5:
                self.most_ahead = max(self.most_ahead, max(self.seen.values()) - min(self.seen.values()))
            return await toy.engine.generate(requests)

    engine = Turns()
    settings = SETTINGS.model_copy(update={"candidates": 4, "rollouts": 3, "rollouts_unsolved": 0})
    run(toy, toy.problems(5), settings, engine=engine)
    assert engine.most_ahead <= settings.max_depth


def test_no_more_trees_live_than_are_allowed_and_each_is_handed_over_as_it_ends(toy: Any) -> None:
    seen: list[str] = []
    services = replace(toy.services(8), live_trees=2)
    drive(toy.problems(8), METHOD, 7, services, lambda tree: seen.append(tree.problem_id))
    assert sorted(seen) == [problem.problem_id for problem in toy.problems(8)]
    assert set(seen[:2]) <= {"p000", "p001", "p002"}


@pytest.mark.parametrize("num_trees", [200, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_trees_that_are_done(toy: Any, num_trees: int) -> None:
    """However many trees: at most eight are alive, and no node of any other."""
    alive: list[int] = []
    sizes: list[int] = []

    def count(tree: Tree) -> None:
        sizes.append(len(tree.nodes))
        if len(sizes) % (num_trees // 20) == 0:
            gc.collect()
            alive.append(sum(type(thing) is Node for thing in gc.get_objects()))

    services = replace(toy.late(num_trees), live_trees=8)
    settings = Settings(candidates=2, rollouts=2, max_depth=3)
    drive(toy.problems(num_trees), RStarMath(settings, TOOLS), 7, services, count)
    assert (len(sizes), len(alive)) == (num_trees, 20)
    assert max(alive) <= 8 * max(sizes)


def test_equal_programs_after_equal_prefixes_are_run_once_and_counted(toy: Any) -> None:
    """The same question twice: the second tree's programs are those of the first."""
    problems = [replace(problem, problem_id=name) for problem in toy.problems(1) for name in ("one", "two")]
    interpreter, updates = toy.interpreter(), list[Update]()
    judge = Judge(problems, [Gold("one", "10"), Gold("two", "10")])
    services = toy.services(0, sandbox=interpreter, grader=judge)
    settings = SETTINGS.model_copy(update={"rollouts_unsolved": 0})
    trees = run_searches(problems, RStarMath(settings, TOOLS), 7, services, progress=updates.append)
    asked = sum(tree.executions for tree in trees)
    assert updates[-1].executions + updates[-1].reused == asked
    assert updates[-1].reused > 0
    alone = [
        run_searches([p], RStarMath(settings, TOOLS), 7, replace(services, sandbox=toy.interpreter())) for p in problems
    ]
    assert rows(trees) == rows([tree for [tree] in alone])


@pytest.mark.parametrize(
    ("limit", "counted"),
    [("limit_tokens", lambda tree: tree.tokens), ("limit_nodes", lambda tree: len(tree.nodes) - 1)],
)
def test_a_limit_ends_a_tree_within_one_expansion_and_is_recorded(toy: Any, limit: str, counted: Any) -> None:
    free = run(toy, toy.problems(6))
    trees = run(toy, toy.problems(6), SETTINGS.model_copy(update={limit: 30}))
    reached = [tree for tree in trees if tree.ended == limit.removeprefix("limit_")]
    assert reached
    most = 16 if limit == "limit_tokens" else 1  # tokens of the longest step
    assert all(30 <= counted(tree) < 30 + SETTINGS.candidates * most for tree in reached)
    assert {tree.ended for tree in free} <= {"done", "exhausted"}
    assert [counted(tree) for tree in trees] <= [counted(tree) for tree in free]


@pytest.mark.parametrize("journaled", [False, True])
def test_a_limit_of_seconds_counts_service_and_not_waiting(toy: Any, tmp_path: Path, journaled: bool) -> None:
    """A call of the engine takes 20 ms: a tree that may have 30 ms gets two, however long others keep it waiting."""

    @dataclass
    class Slow:
        weights: str = "scripted"
        concurrency: int = 1

        async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
            await asyncio.sleep(0.02)
            return await toy.engine.generate(requests)

    settings = SETTINGS.model_copy(update={"limit_s": 0.03})
    journal = tmp_path / "j" if journaled else None
    trees = run_searches(toy.problems(6), RStarMath(settings, TOOLS), 7, toy.services(6, engine=Slow()), journal)
    assert {tree.ended for tree in trees} <= {"seconds", "done", "exhausted"}
    assert any(tree.ended == "seconds" for tree in trees)
    assert all(tree.samples <= 2 * SETTINGS.candidates for tree in trees)
    if journaled:
        again = run_searches(toy.problems(6), RStarMath(settings, TOOLS), 7, toy.services(6), journal)
        assert rows(again) == rows(trees)


def test_what_the_engine_refuses_is_no_step_and_no_reward(toy: Any) -> None:
    def refusing(prompt: str, seed: int) -> Completion:
        if prompt.count("<|end_of_step|>") == 1:
            return Completion("", "", 0, "a prompt too long for the context")
        return toy.engine.rule(prompt, seed)

    trees = run(toy, toy.problems(4), engine=ScriptedEngine(refusing))
    assert all(tree.refused > 0 and not tree.answers() for tree in trees)
    refused = [node for tree in trees for node in tree.nodes if node.stats.status == "refused"]
    assert refused
    assert all(node.stats.visits == 0 and not node.children for node in refused)
    nothing = run(toy, toy.problems(1), engine=ScriptedEngine(lambda prompt, seed: Completion("", "", 0, "no")))
    assert [(tree.ended, len(tree.nodes), tree.rollouts) for tree in nothing] == [("refused", 1, 1)]


def test_an_engine_that_fails_stops_the_run_and_what_was_answered_is_kept(toy: Any, tmp_path: Path) -> None:
    @dataclass
    class Dying:
        left: int
        weights: str = "scripted"
        concurrency: int = 4

        async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
            self.left -= 1
            if self.left < 0:
                raise EngineFailure("the engine is gone")
            return await toy.engine.generate(requests)

    whole = rows(run(toy, toy.problems(5)))
    with pytest.raises(EngineFailure, match="the engine is gone"):
        run_searches(toy.problems(5), METHOD, 7, toy.services(100, engine=Dying(20)), tmp_path / "j")
    engine = Dying(1000)
    trees = run_searches(toy.problems(5), METHOD, 7, toy.services(100, engine=engine), tmp_path / "j")
    assert rows(trees) == whole
    calls = sum(tree.samples for tree in trees) // SETTINGS.candidates
    assert 1000 - engine.left <= calls - 20 + 2  # what was in flight, again


def test_another_seed_gives_other_trees(toy: Any) -> None:
    problems = toy.problems(4)
    other = run_searches(problems, METHOD, 8, toy.services(4))
    assert rows(other) != rows(run(toy, problems))


@dataclass
class Recording:
    """An engine that keeps the sizes of its batches."""

    engine: ScriptedEngine
    sizes: list[int]
    weights: str = "scripted"
    concurrency: int = 0

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
    trees = run_searches(toy.problems(5), METHOD, 7, toy.services(5), progress=updates.append)
    executions = sum(tree.executions for tree in trees)
    counts = (sum(tree.solved for tree in trees), sum(tree.tokens for tree in trees), executions)
    assert updates[-1] == Update(5, 5, *counts)
    assert [update.done for update in updates] == sorted(update.done for update in updates)


def test_a_failing_sandbox_stops_the_run_and_is_never_a_reward(toy: Any) -> None:
    with pytest.raises(SandboxFailure, match="worker lost"):
        run(toy, toy.problems(5), sandbox=toy.interpreter(failing_at=60))


def test_a_step_is_run_from_its_parents_state_and_not_from_the_start(toy: Any) -> None:
    interpreter = toy.interpreter()
    trees = run(toy, toy.problems(6), SETTINGS.model_copy(update={"rollouts_unsolved": 0}), sandbox=interpreter)
    executed = sum(node.outcome is not None for tree in trees for node in tree.nodes)
    rebuilt = interpreter.ran - executed
    widened = sum(node.samples > SETTINGS.candidates for tree in trees for node in tree.nodes)
    assert len(trees) <= rebuilt <= len(trees) + 2 * widened


def test_ppm_guided_search_needs_a_scorer(toy: Any) -> None:
    with pytest.raises(ValueError, match="expected ppm among the services"):
        run(toy, toy.problems(1), SETTINGS.model_copy(update={"ppm": True}), scorer=None)


def test_no_problems_give_no_trees_and_empty_tables(toy: Any) -> None:
    assert run(toy, []) == []
    assert {name: frame.height for name, frame in tables([]).items()} == dict.fromkeys(
        ("nodes", "texts", "trajectories", "searches"), 0
    )


def test_the_real_sandbox_and_an_interpreter_in_process_grow_the_same_trees(toy: Any) -> None:
    problems = toy.problems(4)
    with Sandbox() as sandbox:
        real = tables(run(toy, problems, sandbox=AsyncSandbox(sandbox)))
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
    assert searches["cut"].sum() == sum(tree.cut for tree in trees) > 0
    ended = nodes.filter(pl.col("status") == "unparsable", pl.col("execution") == "ok")
    assert ended.height == searches["unanswered"].sum() > 0
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


@dataclass(frozen=True)
class Unsure:
    """Cannot tell of odd answers."""

    judge: Judge
    version: str = "unsure"

    async def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool | None]:
        verdicts = zip(answers, await self.judge.grade(problem_id, answers), strict=True)
        return [right if answer.isdigit() and int(answer) % 2 == 0 else None for answer, right in verdicts]


def test_what_cannot_be_told_is_counted_and_stands_nowhere_as_right_or_wrong(toy: Any, tmp_path: Path) -> None:
    unsure = Unsure(Judge(toy.problems(6), toy.gold(6)))
    trees = run_searches(toy.problems(6), METHOD, 7, toy.services(6, grader=unsure), tmp_path)
    found = {name: validate(name, frame) for name, frame in tables(trees).items()}
    answers = found["nodes"].filter(pl.col("status") == "answer")
    untold = answers.filter(pl.col("correct").is_null())
    assert 0 < untold.height == found["searches"]["untold"].sum() < answers.height
    assert answers.height == found["searches"]["answers"].sum()
    assert answers.height - untold.height == found["trajectories"].height
    assert found["trajectories"].join(untold, on=["problem_id", "node_id"]).is_empty()
    assert found["searches"]["correct_answers"].sum() == found["trajectories"]["correct"].sum() > 0
    again = run_searches(toy.problems(6), METHOD, 7, toy.services(6, grader=unsure), tmp_path)
    assert rows(again) == rows(trees)


def error_of(node: Node) -> str:
    return "" if node.outcome is None else node.outcome.error


def unrepeatable(prompt: str, seed: int) -> Completion:
    """The first problem's program holds only for now."""
    first, steps = "2 5<" in prompt, prompt.count("<|end_of_step|>")
    text = ["a = 1 / (not late)" if first else "a = 1", f"b = {seed % 8}", "print(b)"][min(steps, 2)]
    return Completion(text, "<|end_of_answer|>" if steps >= 2 else "<|end_of_step|>", 5)


def test_a_step_that_does_not_repeat_is_the_programs_fault_and_nobody_elses(toy: Any, tmp_path: Path) -> None:
    """Cut after every record: resumed late, the first tree may end in errors; the others are as they were."""
    problems, services = toy.problems(3), toy.services(3, engine=ScriptedEngine(unrepeatable))
    whole = tables(run_searches(problems, METHOD, 7, services, tmp_path / "whole"))
    [path] = (tmp_path / "whole").iterdir()
    data, errors = path.read_bytes(), 0
    (tmp_path / "cut").mkdir()
    for cut in range(0, len(data), len(data) // 12):
        (tmp_path / "cut" / path.name).write_bytes(data[:cut])
        late = replace(services, sandbox=replace(toy.interpreter(), late=True))
        found = tables(run_searches(problems, METHOD, 7, late, tmp_path / "cut"))
        others = pl.col("problem_id") != "p000"
        assert all(found[name].filter(others).equals(whole[name].filter(others)) for name in whole)
        unrepeated = found["texts"].filter(pl.col("error").str.starts_with("the steps before it do not repeat: error"))
        assert set(unrepeated["problem_id"]) <= {"p000"}
        errors += unrepeated.height
        again = tables(run_searches(problems, METHOD, 7, services, tmp_path / "cut"))
        assert all(again[name].equals(found[name]) for name in found)
    assert errors > 0


@dataclass(frozen=True)
class Dying:
    """A rule that fails once a step was taken."""

    rule: Any

    def __call__(self, prompt: str, seed: int) -> Completion:
        if "<|end_of_step|>" in prompt:
            raise EngineFailure("gone")
        return self.rule(prompt, seed)  # type: ignore[no-any-return]


def test_a_step_that_looks_at_the_clock_of_the_real_sandbox_ends_no_run(toy: Any, tmp_path: Path) -> None:
    until = time.time() + 3.0
    step = f"import time\na = 1 / (time.time() < {until})"

    def rule(prompt: str, seed: int) -> Completion:
        if step not in prompt:
            return Completion(step, "<|end_of_step|>", 5)
        return Completion(f"print({seed % 3})", "<|end_of_answer|>", 3)

    settings = Settings(candidates=3, rollouts=1)
    with Sandbox() as sandbox:
        services = toy.services(2, engine=ScriptedEngine(Dying(rule)), sandbox=AsyncSandbox(sandbox))
        with pytest.raises(EngineFailure):
            run_searches(toy.problems(2), RStarMath(settings, TOOLS), 7, services, tmp_path)
    time.sleep(max(0.0, until - time.time()))
    for _ in range(2):
        with Sandbox() as sandbox:
            services = toy.services(2, engine=ScriptedEngine(rule), sandbox=AsyncSandbox(sandbox))
            trees = run_searches(toy.problems(2), RStarMath(settings, TOOLS), 7, services, tmp_path)
        for tree in trees:
            assert [node.outcome.status for node in tree.nodes[1:3]] == ["ok", "error"]
            assert all("do not repeat" in node.outcome.error for node in tree.nodes[2:])


def test_a_step_that_does_not_repeat_where_its_state_was_forgotten_ends_no_run(toy: Any) -> None:
    """Within one run: what is made again for lack of memory fails."""

    @dataclass
    class Fading(type(toy.interpreter())):  # type: ignore[misc]
        async def extend_many(self, pairs: Any) -> Any:
            self.late = self.ran > 40
            return await super().extend_many(pairs)

    services = replace(toy.services(3, engine=ScriptedEngine(unrepeatable), sandbox=Fading()), state_bytes=0)
    trees = run_searches(toy.problems(3), METHOD, 7, services)
    assert any("do not repeat" in error_of(node) for tree in trees for node in tree.nodes)
    assert [any(map(error_of, tree.nodes)) for tree in trees] == [True, False, False]


def test_a_setup_that_does_not_run_is_no_fault_of_a_program(toy: Any) -> None:
    class Mute(Tools):
        def setup(self, question: str) -> str:
            return "1 / 0"

    with pytest.raises(SandboxFailure, match="the setup does not run"):
        run_searches(toy.problems(1), RStarMath(SETTINGS, Mute()), 7, toy.services(1))


def test_inference_grows_a_tree_without_verdicts(toy: Any) -> None:
    services: Services = replace(toy.services(3), grader=None)
    trees = run_searches(toy.problems(3), RStarMath(SETTINGS.model_copy(update={"ppm": True}), TOOLS), 7, services)
    found = tables(trees)
    assert found["nodes"]["correct"].null_count() == found["nodes"].height
    assert not found["searches"]["solved"].any()
    assert found["trajectories"].height > 0
