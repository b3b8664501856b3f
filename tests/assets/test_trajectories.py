"""The maker of trajectories on a real store and a real sandbox, with a scripted policy: its journals, its figures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets import trajectories
from assets.graph import unroll
from assets.problems import frames_of
from assets.work import Made, Plan, Work, present_inputs
from models.engines.scripted import Choices, ScriptedEngine
from perseid.artifacts import Manifest, Store
from perseid.engine import Completion, EngineFailure, Generate
from perseid.experiment import Experiment
from perseid.problems import Gold, Item, Problem
from perseid.sandbox import Sandbox
from tests.perseid.search.conftest import options

KEY = "x/round_01/trajectories/000"


@dataclass
class Engine:
    """A policy that dies after `left` calls."""

    left: int = 1000
    calls: int = 0
    weights: str = "scripted"
    concurrency: int = 4
    rule: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(Choices(options)))

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        if self.calls == self.left:
            raise EngineFailure("gone")
        self.calls += 1
        return await self.rule.generate(requests)


@dataclass
class Machines:
    """An engine of the test's, a sandbox of this machine."""

    policy: Engine

    @contextmanager
    def engine(self, folder: Path, settings: object) -> Iterator[Engine]:
        yield self.policy

    @contextmanager
    def sandbox(self, prelude: str) -> Iterator[Sandbox]:
        with Sandbox() as sandbox:
            yield sandbox


def experiment(**search: Any) -> Experiment:
    problems = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
    settings = {"candidates": 3, "rollouts": 4, "max_depth": 4, **search}
    return Experiment.model_validate({"name": "x", "problems": problems, "method": settings, "rounds": [{}]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return prepared(tmp_path / "artifacts")


def prepared(root: Path) -> Store:
    """The inputs of round 1: a pool of four problems, and a policy."""
    store = Store(root)
    publish_pool(store)
    with store.draft("x/round_00/policy") as draft:
        draft.path("model").mkdir()
        (draft.path("model") / "weights").write_text("scripted")
        draft.publish("code", {})
    return store


def publish_pool(store: Store, **corrected: str) -> None:
    asked = [Problem(f"p{i}", "tools", "number", f"{i + 2} {i + 5}") for i in range(4)]
    gold = [Gold(f"p{i}", corrected.get(f"p{i}", str((i + 2) * (i + 5)))) for i in range(4)]
    with store.draft("x/round_01/pool") as draft:
        items = [Item(*pair, {"half": str(i % 2)}) for i, pair in enumerate(zip(asked, gold, strict=True))]
        for name, table in frames_of({"pool": items}, 1).items():
            draft.table(name, table)
        draft.publish("code", {})


def make(store: Store, e: Experiment, engine: Engine, publish: bool = True) -> tuple[Made, Manifest | None]:
    """As the factory does: make, publish, and what follows."""
    graph = unroll(e)
    plan = Plan(e, graph, graph["x/round_01/trajectories"])
    inputs = present_inputs(plan, store)
    with store.draft(KEY) as draft:
        work = Work(plan, "000", store, Machines(engine), draft, None, lambda report: None, inputs)  # type: ignore[arg-type]
        made = trajectories.make(work)
        if not publish:
            return made, None
        versions = {key: manifest.version for key, manifest in inputs.items()}
        manifest = draft.publish(plan.node.code_version, versions)
        trajectories.after(work, manifest, made, None)  # type: ignore[arg-type]
        return made, manifest


def killed(store: Store, e: Experiment, calls: int) -> None:
    with pytest.raises(EngineFailure):
        make(store, e, Engine(left=calls))


def journals(store: Store) -> dict[str, bytes]:
    folder = store.place(KEY) / ".journal"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(store: Store, manifest: Manifest | None) -> dict[str, pl.DataFrame]:
    assert manifest is not None
    return {name: store.read(manifest, name) for name in manifest.row_counts}


def test_a_run_with_another_setting_leaves_the_journal_of_before_and_changed_back_it_goes_on(
    store: Store, tmp_path: Path
) -> None:
    killed(store, experiment(), 30)
    begun = journals(store)
    other, back = Engine(), Engine()
    assert make(store, experiment(rollouts=3), other)[1] is not None
    assert journals(store) == begun
    assert len(begun) == 1
    _, manifest = make(store, experiment(), back)
    assert journals(store) == {}
    alone = Engine()
    _, uninterrupted = make(prepared(tmp_path / "alone"), experiment(), alone)
    assert manifest is not None
    assert uninterrupted is not None
    assert manifest.version == uninterrupted.version
    assert alone.calls - 30 <= back.calls < alone.calls


def test_gold_corrected_after_a_kill_is_graded_anew(store: Store) -> None:
    _, right = make(store, experiment(), Engine())
    publish_pool(store, p0="0", p1="0", p2="0", p3="0")
    made, _ = make(store, experiment(), Engine(), publish=False)
    assert made.metrics["solved"] == 0.0
    assert len(journals(store)) == 1
    publish_pool(store)
    _, again = make(store, experiment(), Engine())
    assert right is not None
    assert again is not None
    assert again.version == right.version
    assert len(journals(store)) == 1


def test_a_journal_of_an_earlier_release_is_in_nobodys_way(store: Store) -> None:
    store.place(KEY).mkdir(parents=True)
    (store.place(KEY) / ".journal").write_bytes(b"PJ2+ of old")
    assert make(store, experiment(), Engine())[1] is not None
    assert not (store.place(KEY) / ".journal").exists()


def test_what_cannot_be_told_is_among_the_figures(store: Store) -> None:
    """The gold of two problems is no number."""
    publish_pool(store, p0="many", p1="few")
    made, manifest = make(store, experiment(), Engine())
    found = rows(store, manifest)
    untold = found["nodes"].filter((pl.col("status") == "answer") & pl.col("correct").is_null())
    assert set(untold["problem_id"]) == {"p0", "p1"}
    assert made.metrics["answers without a verdict"] == untold.height == found["searches"]["untold"].sum()
    assert set(found["trajectories"]["problem_id"]) <= {"p2", "p3"}
