"""The maker of verified trajectories on a real store, with a sandbox that says what the test wants."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets import verified
from assets.graph import unroll
from assets.problems import frames_of
from assets.work import Made, Plan, Work, present_inputs
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment
from perseid.problems import Gold, Item, Problem
from perseid.sandbox import Execution
from perseid.search import SandboxFailure
from perseid.tables import frame

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "selection": {"top": 1},
        "shards": 2,
        "rounds": [{}],
    }
)
GRAPH = unroll(EXPERIMENT)
KEY = "x/round_01/verified"
ANSWER = "<|end_of_answer|>"


@dataclass(frozen=True)
class Echo:
    """A sandbox in which a program `print(n)` prints n, and everything has the status it is told to have."""

    status: str = "ok"

    def run_many(self, codes: Sequence[str], tier: str | None = None) -> list[Execution]:
        printed = [code.rpartition("print(")[2].rstrip(")\n") + "\n" for code in codes]
        return [Execution(self.status, text, "", 0.0, 0.0, None, 0, False, "cpython") for text in printed]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Machines:
    box: Echo

    @contextmanager
    def sandbox(self, prelude: str) -> Iterator[Echo]:
        yield self.box


def publish(store: Store, key: str, frames: dict[str, pl.DataFrame]) -> Manifest:
    with store.draft(key) as draft:
        for name, rows in frames.items():
            draft.table(name, rows)
        return draft.publish("code", {})


def shard(*found: tuple[str, str, str, bool, float]) -> dict[str, pl.DataFrame]:
    """Trajectories of one step: (problem, what its program prints, what search saw it print, right, mean Q)."""
    texts = [(p, f"0.{n}", f"print({own}){ANSWER}", f"{seen}\n", "") for n, (p, own, seen, *_) in enumerate(found, 1)]
    leaves = [
        (f"{n:x}{p[1]}".ljust(16, "0"), p, f"0.{n}", seen, right, q, q, 1, 5, 1)
        for n, (p, _, seen, right, q) in enumerate(found, 1)
    ]
    return {"texts": frame("texts", texts), "trajectories": frame("trajectories", leaves)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    problems = [Problem(f"p{n}", "tools", "number", f"GCD of {n}, 6") for n in range(3)]
    items = [Item(problem, Gold(problem.problem_id, "1"), {"family": "gcd"}) for problem in problems]
    publish(store, "x/round_01/pool", frames_of({"pool": items}, 1))
    right, other = ("p0", "6", "6", True, 0.9), ("p0", "3 + 3", "6", True, 0.1)
    publish(store, "x/round_01/trajectories/000", shard(right, other, ("p0", "5", "5", False, -1.0)))
    publish(store, "x/round_01/trajectories/001", shard(("p1", "2", "1", True, 0.5), ("p2", "2", "2", True, 0.5)))
    return store


def made(store: Store, box: Echo) -> tuple[Made, Manifest]:
    plan = Plan(EXPERIMENT, GRAPH, GRAPH[KEY])
    machines: Any = Machines(box)
    tracked: Any = None
    with store.draft(KEY) as draft:
        work = Work(plan, None, store, machines, draft, tracked, lambda report: None, present_inputs(plan, store))
        return verified.make(work), draft.publish("code", {})


def test_the_best_of_every_shard_s_problems_are_kept_and_the_others_have_their_reason(
    store: Store,
) -> None:
    told, manifest = made(store, Echo())
    kept = store.read(manifest, "verified").select("problem_id", "rank", "response", "answer")
    assert kept.rows() == [("p0", 1, f"print(6){ANSWER}", "6"), ("p2", 1, f"print(2){ANSWER}", "2")]
    assert store.read(manifest, "rejected").select("problem_id", "reason").rows() == [
        ("p1", "prints something else on CPython")
    ]
    assert told.metrics == {"trajectories": 2, "rejected": 1}
    assert told.tables["rejected"].rows() == [("prints something else on CPython", 1)]


def test_the_versions_of_the_shards_that_were_read_are_recorded(store: Store) -> None:
    _, manifest = made(store, Echo())
    shards = {name: store.current(f"x/round_01/trajectories/{name}") for name in ("000", "001")}
    versions = [(name, found.version) for name, found in shards.items() if found is not None]
    assert store.read(manifest, "shards").rows() == versions


def test_nothing_right_is_an_artifact_without_rows(store: Store) -> None:
    for name in ("000", "001"):
        publish(store, f"x/round_01/trajectories/{name}", shard(("p1", "2", "2", False, -1.0)))
    told, manifest = made(store, Echo())
    assert told.metrics == {"trajectories": 0, "rejected": 0}
    assert manifest.row_counts == {"verified": 0, "rejected": 0, "shards": 2}


def test_a_sandbox_that_fails_ends_the_attempt(store: Store) -> None:
    with pytest.raises(SandboxFailure, match="the sandbox failed"):
        made(store, Echo("sandbox_error"))
    assert store.current(KEY) is None
