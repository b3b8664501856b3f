"""Any model, any problems, each recipe: one real round on tiny ones, every artifact made and looked at."""

import csv
import json
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from assets.factory import nothing
from assets.freshness import survey, units
from assets.graph import Graph, maker, unroll
from assets.work import Clock, Plan, attempting
from orchestration.report import table_of
from orchestration.resources import LocalMachines
from perseid.artifacts import Manifest, Store
from perseid.engine import END
from perseid.experiment import Experiment
from perseid.formats import format_of
from perseid.gate import champion
from perseid.lineage import problems_of
from perseid.recipes import recipes
from tests.assets.conftest import FakeTracking
from tests.matrix.models import CONTEXT, MODELS, Taught, made

pytestmark = pytest.mark.slow
SHOTS = {
    "arithmetic": "shots: [{question: 1 + 1, response: '2'}]\n",
    "choice": "shots: [{question: 1 or A, response: (A)}]\n",
}
METHODS: Mapping[str, dict[str, Any]] = {
    "rejection": {"kind": "flat", "samples": 12, "max_tokens": 8},
    "rstar_math": {"kind": "rstar_math", "rollouts": 3, "candidates": 5, "max_step_tokens": 8, "max_depth": 2},
}
RULES = {"arithmetic": "last_number", "choice": "last_letter"}
SAID = {"arithmetic": list("0123456789"), "choice": ["(A)", "(B)", "(C)", "(D)"]}
ASKED = {"samples": 2, "max_tokens": 8, "mcts_problems": 1, "mcts_rollouts": 1, "mcts_candidates": 2}
CELLS = list(product(MODELS, recipes(), RULES, (False, True)))  # the last: adapters alone


def rows(data: str) -> list[tuple[str, str]]:
    """Questions with their gold."""
    if data == "arithmetic":
        return [(f"{a} + {b}", str(a + b)) for a in range(10) for b in range(10) if a + b < 10]
    return [(f"{n}: A {n + 1} B {n - 1} C {n + 2} or D {n}, up {n % 3}?", "ACD"[n % 3]) for n in range(10, 50)]


def format_section(folder: Path, data: str) -> dict[str, Any]:
    return {"kind": "chain", "shots": str(folder / f"{data}.yaml"), "answer": RULES[data]}


def source(folder: Path, data: str) -> dict[str, Any]:
    if data == "arithmetic":
        return {"source": "jsonl", "path": str(folder / "arithmetic.jsonl"), "kind": "number"}
    return {"source": "csv", "path": str(folder / "choice.csv"), "kind": "choice", "columns": {"gold": "right"}}


def experiment(folder: Path, model: str, recipe: str, data: str, lora: bool) -> Experiment:
    policy: dict[str, Any] = {"base": "pretrained", "from": str(folder / model / data), "context": CONTEXT}
    policy |= {"format": format_section(folder, data), "chat_template": "own" if model == "qwen2" else "none"}
    policy |= {"lora": {"rank": 4, "alpha": 8}} if lora else {}
    sizes: dict[str, Any] = {"steps": 4, "batch": 8, "learning_rate": 1e-3}
    whole: dict[str, Any] = {
        "name": "tiny",
        "recipe": recipe,
        "problems": {"train": [source(folder, data)], "held_out": {"share": 0.15}, "pool": {"problems": 10}},
        "models": {"policy": policy},
        "engine": {"threads": 1, "batch": 64},
        "method": METHODS[recipe],
        "selection": {"top": 3, "pairs": {"min_edit": 1, "held_out": 0.2}},
        "training": {"policy": sizes, "ppm": {"batch": 8}},
        "evaluation": {**ASKED, "bootstrap_samples": 100},
        "control": {"kind": "unverified"},
        "rounds": [{}],
    }
    return Experiment.model_validate(whole)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of problems and of examples."""
    folder = tmp_path_factory.mktemp("matrix")
    for data, shots in SHOTS.items():
        (folder / f"{data}.yaml").write_text(shots)
    lines = [json.dumps({"question": question, "answer": int(gold)}) for question, gold in rows("arithmetic")]
    (folder / "arithmetic.jsonl").write_text("\n".join(lines))
    with (folder / "choice.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("question", "right"), *rows("choice")])
    return folder


def base(folder: Path, model: str, data: str) -> Path:
    """A model that has learned to answer with any number, or any letter; made once."""
    place = folder / model / data
    return place if place.exists() else made(model, place, taught(folder, data))


def taught(folder: Path, data: str) -> list[Taught]:
    section = experiment(folder, "llama", "rejection", data, False).models.policy.format
    told = format_of(section)
    questions = [question for question, _ in rows(data)]
    prompts = [told.prompt(question, shots=place % 2 == 0) for place, question in enumerate(questions)] * 3
    answers = SAID[data]
    return [(prompt, f"{answers[place % len(answers)]}{END}") for place, prompt in enumerate(prompts)]


def run(e: Experiment, store: Store) -> tuple[Graph, dict[str, Manifest]]:
    """Every unit in its order, with real models; tracking is a fake."""
    graph, machines, tracking = unroll(e), LocalMachines(), FakeTracking()
    for unit in units(graph):
        plan, by, clock = Plan(e, graph, unit.node), maker(unit.node.does), Clock()
        with attempting(plan, unit.shard, store, machines, tracking, lambda report: None, {}) as work:
            told = by.make(work)
            versions = {key: manifest.version for key, manifest in work.inputs.items()}
            manifest = work.draft.publish(unit.node.code_version, versions, clock.facts(work, told))
            getattr(by, "after", nothing)(work, manifest, told, tracking)
    return graph, {key: manifest for key, manifest in survey(graph, store).items() if manifest is not None}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


@pytest.mark.parametrize(("model", "recipe", "data", "lora"), CELLS)
def test_a_round_of_every_recipe_runs_on_any_model_and_any_problems(
    folder: Path, store: Store, model: str, recipe: str, data: str, lora: bool
) -> None:
    base(folder, model, data)
    e = experiment(folder, model, recipe, data, lora)
    graph, found = run(e, store)
    assert set(found) == {unit.key for unit in units(graph)}
    assert store.read(found["tiny/round_01/verified"], "verified").height > 0
    answers = store.read(found["tiny/round_01/evaluation"], "evaluations").filter(decoding="greedy")
    held_out = store.read(found["tiny/problems"], "pools").filter(split="held_out").height
    assert answers.group_by("arm").len().sort("arm").rows() == [("control", held_out), ("policy", held_out)]
    assert ("tiny/round_01/ppm" in found) == (recipe == "rstar_math")
    weights = {path.name for path in store.folder(found["tiny/round_01/policy"]).iterdir()}
    assert ("adapter_model.safetensors" in weights) == lora
    trained = problems_of(store, "tiny/round_01/policy")
    pool = store.read(found["tiny/round_01/pool"], "problems")
    assert set(trained["problem_id"]) <= set(pool["problem_id"])
    assert champion(store, "tiny") is not None
    assert table_of(e, store)
    metrics = store.read(found["tiny/round_01/evaluation"], "metrics")["metric"].to_list()
    assert {"greedy_delta_control", "greedy_delta_previous", "sampled_pass@2"} <= {*metrics}
