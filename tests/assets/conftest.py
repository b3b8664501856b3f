"""Attempts of a small experiment on a real store, with plain fakes for what trains, scores and tracks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets.graph import Node, unroll
from assets.tracking import Account, Checkpoint
from assets.work import Plan, Report, Work
from models.attempt import Attempt
from models.examples import Trained
from perseid.artifacts import Manifest, Store
from perseid.engine import Prompt
from perseid.experiment import Experiment

TOOLS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": TOOLS,
        "control": {},
        "rounds": [{}, {}],
    }
)
GRAPH = unroll(EXPERIMENT)
CURVE = pl.DataFrame({"step": [10, 20], "loss": [2.0, 1.0], "tokens": [100, 200]})


class FakeTrainer:
    """Writes a file where a checkpoint would stand, and keeps what it was asked for."""

    def __init__(self, curve: pl.DataFrame = CURVE, left_out: tuple[int, ...] = ()) -> None:
        self.left_out = left_out
        self.curve, self.asked = curve, list[tuple[Any, ...]]()

    def bootstrap(self, *asked: Any) -> None:
        self.asked.append(("bootstrap", *asked))
        (asked[3] / "model.safetensors").write_text("untrained")

    def point(self, *asked: Any) -> None:
        self.asked.append(("point", *asked))
        asked[1].mkdir()
        (asked[1] / "base.json").write_text("{}")

    def policy(self, *asked: Any) -> Trained:
        return self._trained("policy", asked)

    def ppm(self, *asked: Any) -> Trained:
        return self._trained("ppm", asked)

    def _trained(self, kind: str, asked: tuple[Any, ...]) -> Trained:
        *_, out, attempt = asked
        assert isinstance(attempt, Attempt)
        self.asked.append((kind, *asked))
        out.mkdir()
        (out / "model.safetensors").write_text(kind)
        attempt.progress(20, 20)
        return Trained(self.curve, self.left_out)


class FakeScorer:
    """The longer, the better: a hundredth a character."""

    weights = "fake"

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]:
        return [len(prefix.text) / 100 for prefix in prefixes]


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


class FakeTracked:
    """Keeps what an attempt tells of itself, and how it ended."""

    run_id, url = "run", "http://tracking/run"

    def __init__(self) -> None:
        self.tags, self.settings, self.measured = dict[str, str](), dict[str, str](), dict[str, float]()
        self.curves, self.pictures = dict[str, list[tuple[int, float]]](), dict[str, bytes]()
        self.ended = ""

    def tag(self, tags: Mapping[str, str]) -> None:
        self.tags |= tags

    def params(self, values: Mapping[str, str]) -> None:
        self.settings |= values

    def metrics(self, values: Mapping[str, float]) -> None:
        self.measured |= values

    def curve(self, name: str, points: Sequence[tuple[int, float]]) -> None:
        self.curves[name] = list(points)

    def picture(self, name: str, png: bytes) -> None:
        self.pictures[name] = png


class FakeTracking:
    """Keeps what it is told, by attempt and by model."""

    def __init__(self) -> None:
        self.attempts = dict[tuple[str, str], FakeTracked]()
        self.registered, self.aliases = list[Checkpoint](), dict[tuple[str, str], str]()
        self.rounds = dict[str, Mapping[str, float]]()

    @contextmanager
    def attempt(self, round_key: str, asset: str, tags: Mapping[str, str]) -> Iterator[FakeTracked]:
        tracked = self.attempts[round_key, asset] = FakeTracked()
        tracked.tag(tags)
        tracked.ended = "failed"
        yield tracked
        tracked.ended = "finished"

    def register(self, checkpoint: Checkpoint) -> str:
        self.registered.append(checkpoint)
        return str(len(self.registered))

    def alias(self, model: str, alias: str, version: str) -> None:
        self.aliases[model, alias] = version

    def close_round(self, round_key: str, metrics: Mapping[str, float]) -> None:
        self.rounds[round_key] = metrics

    def agree(self, account: Account) -> None:
        raise AssertionError("no attempt gives an account")


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
