"""The part of `benchmarks.search` that needs real policies: an evolved quickstart, vLLM, SmolLM2."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assets.trajectories import judge_of, pool_of
from benchmarks.search import Sizes, TimedJournal, report
from models.engines import opened
from perseid import experiment
from perseid.artifacts import Store
from perseid.engine import Completion, Engine, Generate, Prompt
from perseid.experiment import Experiment, load_experiment
from perseid.formats import TOOLS, Draft
from perseid.formats.tools import Tools
from perseid.graders import Judge
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems import Gold, Problem
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Services, Tree, drive

ROUND = 1
FEW_SHOT = """\
# q is the question. One line of Python a step; the last one prints the answer.
q = "Add 3 and 4"
a = 3 + 4
print(a)

q = "Multiply 6 by 7, then add 2"
a = 6 * 7
b = a + 2
print(b)

"""


@dataclass(frozen=True)
class Lines(Tools):
    """Steps of a model that knows none of our marks: lines of Python after two examples."""

    version: str = "lines"
    stops: tuple[str, ...] = ("\n",)

    def prompt(self, question: str, steps: Sequence[str] = (), *, shots: bool = False) -> Prompt:
        return Prompt.of(f"{FEW_SHOT}q = {question!r}\n", *steps)

    def read(self, completion: Completion) -> Draft:
        code = completion.text.strip()
        parsed = completion.stop == "\n" and bool(code)
        ends = code.startswith("print(")
        return Draft(completion.text + "\n", code, None, ends, completion.num_tokens, None, parsed)


@dataclass
class Recorded:
    """An engine that keeps what it was asked."""

    engine: Engine
    asked: list[Generate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights, self.concurrency = self.engine.weights, self.engine.concurrency

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        self.asked += requests
        return await self.engine.generate(requests)


@dataclass(frozen=True)
class Task:
    """What is searched, with what."""

    model: str
    folder: Path
    engine: experiment.Engine
    method: RStarMath
    problems: Sequence[Problem]
    judge: Judge


def real(given: argparse.Namespace) -> None:
    overrides = {} if given.seed is None else {"seed": given.seed}
    loaded, store = load_experiment(Path("experiments") / f"{given.experiment}.yaml", overrides), Store(given.root)
    task = quickstart(loaded, store)
    with ready(task) as engine:
        journaled(task, engine)
    if importlib.util.find_spec("vllm") is not None:
        many, few = (8, 8) if given.quick else (280, 96)
        continuous = experiment.Vllm(batch=128, threads=task.engine.threads)
        token_ratio(Task(task.model, task.folder, continuous, task.method, task.problems[:many], task.judge))
        if given.smollm is not None:
            token_ratio(smollm(given.smollm, continuous, few))
    for name, root in (("before", given.before), ("after", given.root)):
        if root is not None:
            verified_a_cpu_minute(name, Store(root), loaded)


def quickstart(loaded: Experiment, store: Store) -> Task:
    """A round's search as the experiment has it."""
    folder = store.folder(f"{loaded.name}/round_{ROUND - 1:02d}/policy", "model")
    asked = store.read(f"{loaded.name}/round_{ROUND:02d}/pool", "problems")
    settings = loaded.at(ROUND).method.model_copy(update={"ppm": False})
    judge = judge_of(asked, store.read(f"{loaded.name}/round_{ROUND:02d}/pool", "gold"))
    return Task(loaded.name, folder, loaded.engine, RStarMath(settings, TOOLS), pool_of(asked, 0, 1), judge)


def smollm(folder: Path, engine: experiment.Engine, count: int) -> Task:
    asked = [Problem(f"sum-{i}", "sums", "number", f"Multiply {i + 2} by {i + 5}, then add {i}") for i in range(count)]
    gold = [Gold(f"sum-{i}", str((i + 2) * (i + 5) + i)) for i in range(count)]
    settings = Settings(candidates=4, rollouts=4, max_depth=4, max_step_tokens=24, temperature=0.8)
    return Task("SmolLM2-135M", folder, engine, RStarMath(settings, Lines()), asked, Judge(asked, gold))


@contextlib.contextmanager
def ready(task: Task) -> Iterator[Recorded]:
    """The engine, warm."""
    with opened(task.folder, task.engine) as engine:
        sampling = task.method.settings.sampling(task.method.format.stops)
        prompt = task.method.format.prompt("warm up")
        asyncio.run(engine.generate([Generate(prompt, seed, sampling) for seed in range(8)]))
        yield Recorded(engine)


@dataclass
class Trees(Sizes):
    """What became of each problem, to compare two searches by."""

    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, tree: Tree) -> None:
        super().__call__(tree)
        self.texts[tree.problem_id] = tuple(node.text for node in tree.nodes)


def searched(task: Task, engine: Engine, journals: Path | None = None) -> tuple[Trees, float]:
    """The trees and wall seconds."""
    sizes = Trees()
    with Sandbox(workers=2, prelude=toolbox_source()) as sandbox:
        services = Services(engine, None, AsyncSandbox(sandbox), task.judge)
        started = time.perf_counter()
        drive(task.problems, task.method, 0, services, sizes, journals)
        return sizes, time.perf_counter() - started


def journaled(task: Task, engine: Engine) -> tuple[Trees, float]:
    """A search with its journal: what that costs, and how fast it replays."""
    with tempfile.TemporaryDirectory() as folder, TimedJournal() as timed:
        sizes, search_s = searched(task, engine, Path(folder))
        spent_s, [num_bytes] = timed.seconds, [journal.stat().st_size for journal in Path(folder).iterdir()]
        _, replay_s = searched(task, engine, Path(folder))
    facts = {"driver": "perseid", "engine": task.engine.kind, "model": task.model, "nodes": sizes.nodes}
    report("journal.overhead", 100 * spent_s / search_s, "%", "< 3", **facts)
    report("journal.bytes_per_node", num_bytes / sizes.nodes, "bytes", **facts)
    report("journal.replay", search_s / replay_s, "x", ">= 50", **facts)
    report("search.tokens_per_s", sizes.tokens / search_s, "tokens/s", **facts)
    return sizes, search_s


def token_ratio(task: Task) -> None:
    """Tokens a second in search over those of the engine alone on the same prompts all at once; new engines both."""
    with ready(task) as engine:
        sizes, search_s = journaled(task, engine)
        asked = engine.asked
    with ready(task) as engine:
        started = time.perf_counter()
        completions = asyncio.run(engine.generate(asked))
        alone_s = time.perf_counter() - started
        again, _ = searched(task, engine)
    same = sum(again.texts[name] == texts for name, texts in sizes.texts.items()) / sizes.trees
    alone = sum(completion.num_tokens for completion in completions) / alone_s
    facts = {"driver": "perseid", "engine": task.engine.kind, "model": task.model, "sequences": len(asked)}
    report("engine.tokens_per_s", alone, "tokens/s", **facts)
    report("search.token_ratio", sizes.tokens / search_s / alone, "share", ">= 0.9", **facts)
    report("search.identical_trees", same, "share of two searches", **facts)


def verified_a_cpu_minute(name: str, store: Store, loaded: Experiment) -> None:
    """Of all rounds, by the seconds in the manifests of the search and of the verification."""
    rows, cpu_s = 0, 0.0
    for number in range(1, len(loaded.rounds) + 1):
        key = f"{loaded.name}/round_{number:02d}"
        for stage in ("trajectories/000", "verified"):
            manifest = store.current(f"{key}/{stage}")
            assert manifest is not None
            cpu_s += manifest.cpu_s
        rows += store.read(f"{key}/verified", "verified").height
    report("search.verified_per_cpu_minute", 60 * rows / cpu_s, "trajectories", version=name, verified=rows)
