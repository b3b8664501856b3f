"""The maker of evaluations on a real store and sandbox, with written policies: who is asked what, and what is said."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from assets import evaluation
from assets.graph import unroll
from assets.problems import frames_of
from assets.work import Made, Plan, Work, present_inputs
from perseid.artifacts import Manifest, Store
from perseid.engine import Completion, Generate
from perseid.experiment import Experiment
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP
from perseid.problems import Gold, Item, Problem
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import Sandbox
from perseid.tables import frame

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "evaluation": {
            "samples": 2,
            "mcts_problems": 1,
            "mcts_rollouts": 1,
            "mcts_candidates": 2,
            "fresh_instances": 2,
        },
        "control": {},
        "rounds": [{}],
    }
)
GRAPH = unroll(EXPERIMENT)
GOLD = {"LCM of 4, 6": "12", "LCM of 5, 7": "35", "LCM of 4, 6, 8, 9, 10, 12": "360"}
PROGRAM = f"# read the numbers\na = numbers(q){END_OF_STEP}# take {{0}}\nb = {{0}}(a){END_OF_STEP}# answer\nprint(b)"
RIGHT, LUCKY = PROGRAM.format("lcm"), PROGRAM.format("prod")
HELD_OUT = [Problem(f"lcm-{n}", "tools", "number", text) for n, text in enumerate(GOLD)]
POOL = [Problem("lcm-9", "tools", "number", "LCM of 9, 2")]
SCORES = [("a" * 16, "held_out", 0.5, -0.5)]


@dataclass(frozen=True)
class Writer:
    """A policy that goes on with `text`, a step or all of it; prompts of over `context` characters are refused."""

    text: str
    context: int = 10**6
    weights: str = "written"
    concurrency: int = 0

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        return [self.continued(request) for request in requests]

    def continued(self, request: Generate) -> Completion:
        if len(request.prompt.text) > self.context:
            return Completion("", "", 0, "longer than the context")
        rest = self.text[len(request.prompt.text.split("<|steps|>")[1]) :]
        whole = request.sampling.stop == (END_OF_ANSWER,)
        step, more, _ = (rest, "", "") if whole else rest.partition(END_OF_STEP)
        return Completion(step, END_OF_STEP if more else END_OF_ANSWER, 5)


class Longest:
    """Scores a prefix by its length."""

    weights = "longest"

    async def score(self, prefixes: Sequence[str]) -> list[float]:
        return [min(1.0, len(prefix) / 1000) for prefix in prefixes]


@dataclass
class Machines:
    """A policy a checkpoint, and a sandbox of this machine; `asked` are the checkpoints, in order."""

    policies: dict[str, Writer]
    asked: list[str] = field(default_factory=list)

    @contextmanager
    def engine(self, folder: Path, settings: object) -> Iterator[Writer]:
        self.asked.append((folder / "name").read_text())
        yield self.policies[self.asked[-1]]

    def scorer(self, folder: Path, settings: object) -> Longest:
        self.asked.append((folder / "name").read_text())
        return Longest()

    @contextmanager
    def sandbox(self, prelude: str) -> Iterator[Sandbox]:
        with Sandbox(prelude=toolbox_source()) as sandbox:
            yield sandbox


def publish(store: Store, key: str, frames: dict[str, pl.DataFrame], name: str = "") -> Manifest:
    with store.draft(key) as draft:
        for table, rows in frames.items():
            draft.table(table, rows)
        if name:
            draft.path("model").mkdir()
            draft.path("model/name").write_text(name)
        return draft.publish("code", {})


def problem_tables(problems: list[Problem]) -> dict[str, pl.DataFrame]:
    gold = [Gold(p.problem_id, GOLD.get(p.question, "18")) for p in problems]
    known = [{"family": "lcm", "wording": str(n % 2)} for n in range(len(problems))]
    items = [Item(*each) for each in zip(problems, gold, known, strict=True)]
    return frames_of({"held_out" if problems is HELD_OUT else "pool": items})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """What stands above the evaluations of two rounds: nobody has been evaluated yet."""
    store = Store(tmp_path)
    publish(store, "x/problems", problem_tables(HELD_OUT))
    publish(store, "x/round_00/policy", {}, "base")
    publish(store, "x/round_01/pool", problem_tables(POOL))
    verified = [
        (f"{n:016x}", "lcm-9", POOL[0].question, text + END_OF_ANSWER, "18", 1.0, 1.0, n)
        for n, text in enumerate((RIGHT, LUCKY), 1)
    ]
    publish(store, "x/round_01/verified", {"verified": frame("verified", verified)})
    publish(store, "x/round_01/policy", {}, "policy")
    publish(store, "x/round_01/control", {}, "control")
    trained = {"training": frame("training", [(1, 0.5, 0)]), "pair_scores": frame("pair_scores", SCORES)}
    publish(store, "x/round_01/ppm", trained, "ppm")
    return store


def made(store: Store, key: str, machines: Machines) -> tuple[Made, Manifest]:
    plan = Plan(EXPERIMENT, GRAPH, GRAPH[key])
    given: Any = machines
    tracked: Any = None
    with store.draft(key) as draft:
        work = Work(plan, None, store, given, draft, tracked, lambda report: None, present_inputs(plan, store))
        return evaluation.make(work), draft.publish("code", {})


def first(store: Store, policy: Writer) -> tuple[Made, Manifest]:
    return made(store, "x/round_00/evaluation", Machines({"base": policy}))


def test_round_0_is_asked_in_every_way_and_has_nothing_to_be_compared_with(store: Store) -> None:
    told, manifest = first(store, Writer(RIGHT))
    rows = store.read(manifest, "evaluations")
    assert rows.group_by("arm", "decoding").len().sort("decoding").rows() == [
        ("policy", "greedy", 3),
        ("policy", "matched", 6),  # the search generated 30 tokens, a whole answer takes 5
        ("policy", "mcts", 1),
        ("policy", "sampled", 6),
    ]
    assert rows["correct"].all()
    assert "soundness" not in manifest.row_counts
    shares = {name: value for name, value in told.metrics.items() if "@" in name}
    names = ("greedy_pass@1", "sampled_pass@1", "sampled_pass@2", "sampled_maj@2", "mcts_pass@1", "matched_pass@1")
    assert shares == dict.fromkeys(names, 1.0)
    assert told.tokens == rows["tokens"].sum()


def test_questions_longer_than_the_context_are_in_the_denominator_and_shown(store: Store) -> None:
    told, manifest = first(store, Writer(RIGHT, len(f"<|question|>{HELD_OUT[2].question}<|steps|>") - 1))
    assert told.metrics["greedy_pass@1"] == pytest.approx(2 / 3)
    assert told.metrics["sampled_pass@2"] == pytest.approx(2 / 3)
    assert told.metrics["greedy_refused"] == told.metrics["sampled_refused"] == pytest.approx(1 / 3)
    whole = store.read(manifest, "metrics").filter(facet="all")
    n = whole.filter(pl.col("metric").str.contains("greedy"))["n"]
    assert set(n) == {3}


def test_a_round_is_compared_with_its_control_with_the_round_before_and_with_fresh_questions(store: Store) -> None:
    first(store, Writer(LUCKY))
    machines = Machines({"policy": Writer(RIGHT), "control": Writer(LUCKY)})
    told, manifest = made(store, "x/round_01/evaluation", machines)
    assert machines.asked == ["ppm", "policy", "control"]
    third = pytest.approx(1 / 3)
    assert told.metrics["control_greedy_pass@1"] == third
    assert told.metrics["greedy_delta_control"] == told.metrics["greedy_delta_previous"] == pytest.approx(2 / 3)
    assert told.metrics["sampled_ppm_best@2"] == told.metrics["ppm_pair_accuracy"] == 1.0
    assert told.metrics["verified_but_wrong"] == 0.5
    sound = store.read(manifest, "soundness").select("fresh", "right", "untold").rows()
    assert sound == [(2, 2, 0), (2, 0, 0)]
    shown = told.tables["by facet"]["metric"].unique().to_list()
    assert sorted(shown) == sorted(evaluation.SHOWN)
    assert told.pictures["accuracy"].startswith(b"\x89PNG")
