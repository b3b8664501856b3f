"""Attempts of a small experiment on a real store, with plain fakes for what trains, scores and tracks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.graph import Node, unroll
from assets.work import Plan, Report, Work
from models.attempt import Attempt
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment

EXPERIMENT = Experiment.model_validate(
    {"name": "x", "problems": {"demonstrated": ["gcd"], "undemonstrated": ["lcm"]}, "control": {}, "rounds": [{}, {}]}
)
GRAPH = unroll(EXPERIMENT)
CURVE = pl.DataFrame({"step": [10, 20], "loss": [2.0, 1.0], "tokens": [100, 200]})


class FakeTrainer:
    """Writes a file where a checkpoint would stand, and keeps what it was asked for."""

    def __init__(self, curve: pl.DataFrame = CURVE) -> None:
        self.curve, self.asked = curve, list[tuple[Any, ...]]()

    def bootstrap(self, *asked: Any) -> None:
        self.asked.append(("bootstrap", *asked))
        (asked[3] / "model.safetensors").write_text("untrained")

    def policy(self, *asked: Any) -> pl.DataFrame:
        return self._trained("policy", asked)

    def ppm(self, *asked: Any) -> pl.DataFrame:
        return self._trained("ppm", asked)

    def _trained(self, kind: str, asked: tuple[Any, ...]) -> pl.DataFrame:
        *_, out, attempt = asked
        assert isinstance(attempt, Attempt)
        self.asked.append((kind, *asked))
        out.mkdir()
        (out / "model.safetensors").write_text(kind)
        attempt.progress(20, 20)
        return self.curve


class FakeScorer:
    """The longer, the better: a hundredth a character."""

    weights = "fake"

    async def score(self, prefixes: Sequence[str]) -> list[float]:
        return [len(prefix) / 100 for prefix in prefixes]


class FakeMachines:
    def __init__(self, trainer: FakeTrainer) -> None:
        self.its_trainer, self.num_threads, self.scored = trainer, list[int](), list[Path]()

    def threads(self, engine: Any) -> None:
        self.num_threads.append(engine.threads)

    def trainer(self) -> FakeTrainer:
        return self.its_trainer

    def scorer(self, folder: Path, engine: Any) -> FakeScorer:
        self.scored.append(folder)
        return FakeScorer()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


Begin = Callable[[str, FakeTrainer], Work]


@pytest.fixture
def begin(store: Store) -> Iterator[Begin]:
    """`begin(key, trainer)`: the work of a node, its draft open, its inputs as they are published."""
    with ExitStack() as opened:

        def work(key: str, trainer: FakeTrainer) -> Work:
            node: Node = GRAPH[key]
            found = {above: store.current(above) for above in node.inputs}
            inputs = {above: manifest for above, manifest in found.items() if manifest is not None}
            draft, reports = opened.enter_context(store.draft(key)), list[Report]()
            machines: Any = FakeMachines(trainer)
            tracked: Any = None  # makers tell it nothing
            return Work(Plan(EXPERIMENT, GRAPH, node), None, store, machines, draft, tracked, reports.append, inputs)

        yield work


def publish(
    store: Store, key: str, frames: Mapping[str, pl.DataFrame], files: Mapping[str, str] | None = None
) -> Manifest:
    with store.draft(key) as draft:
        for name, frame in frames.items():
            draft.table(name, frame)
        for name, text in (files or {}).items():
            draft.path(name).parent.mkdir(exist_ok=True)
            draft.path(name).write_text(text)
        return draft.publish("code", {})
