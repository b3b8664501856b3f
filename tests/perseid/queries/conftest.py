"""A small experiment written by hand, through the real store: two rounds, two shards in the first.

p1 (gcd, round 1, shard 000): solved at 0.1.1      p2 (lcm, round 1, shard 001): only a wrong answer at 0.1
p3 (lcm, round 2): solved at 0.1                   h1 (gcd, held out)      d1 (gcd, demonstration)
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from perseid.artifacts import Facts, Store
from perseid.tables import columns_of

T1, T3 = "1" * 16, "3" * 16
PAIR = "a" * 16


def asked(*rows: tuple[str, int, str, str, str, str]) -> dict[str, Any]:
    """(split, round, problem, family, question, answer)."""
    return {
        "problems": [(problem, "toy", "number", question) for _, _, problem, _, question, _ in rows],
        "gold": [(problem, json.dumps(answer)) for *_, problem, _, _, answer in rows],
        "facets": [(problem, "family", family) for _, _, problem, family, _, _ in rows],
        "pools": [(round, split, problem) for split, round, problem, *_ in rows],
    }


PROBLEMS = asked(
    ("demonstration", 0, "d1", "gcd", "gcd of 4 and 6?", "2"),
    ("held_out", 0, "h1", "gcd", "common divisor of 9 and 6?", "3"),
) | {
    "demonstrations": [("demo", "demonstration", "d1", "gcd of 4 and 6?", "x"), ("drill", "drill", "", "Use gcd", "y")]
}
POOLS = {
    1: asked(("pool", 1, "p1", "gcd", "gcd of 8 and 6?", "2"), ("pool", 1, "p2", "lcm", "lcm of 4 and 6?", "12")),
    2: asked(("pool", 2, "p3", "lcm", "lcm of 2 and 3?", "6")),
}
TAUGHT = [("demo", "demonstration", 0, "d1", None, 1.0), ("drill", "drill", 0, "", None, 1.0)]


def tree(problem_id: str, steps: Mapping[str, tuple[float, bool | None]], prior: float | None = None) -> dict[str, Any]:
    """The tables of one search, from node id -> (Q, whether its answer is right)."""
    nodes = [(problem_id, "0", "", 0, "open", 1, 0.0, 0.0, None, None, None, None, None, 0)]
    for node, (q, right) in steps.items():
        status, answer = ("open", None) if right is None else ("answer", "7")
        parent, depth = node.rpartition(".")[0], node.count(".")
        nodes.append((problem_id, node, parent, depth, status, 1, q, q, prior, answer, right, "ok", "fast", 5))
    leaves = [(node, right) for node, (_, right) in steps.items() if right is not None]
    names = {True: {"p1": T1, "p3": T3}.get(problem_id), False: problem_id[1] * 15 + "f"}
    right_ones = sum(right for _, right in leaves)
    difficulty = "easy" if right_ones else "hard"
    work = ("done", len(nodes), 0, 0, len(nodes), 0, 0, 0)
    return {
        "nodes": nodes,
        "texts": [(problem_id, node, f"[{node}]", "", "") for node in steps],
        "trajectories": [(names[r], problem_id, n, "7", r, 0.5, 0.5, n.count("."), 10, 1) for n, r in leaves],
        "searches": [(problem_id, bool(right_ones), 4, len(nodes), 20, len(leaves), right_ones, difficulty, *work)],
    }


def verified(name: str, problem_id: str, family: str, shards: Mapping[str, str]) -> dict[str, Any]:
    row = (name, problem_id, f"{family}?", f"program of {problem_id}", "7", 0.5, 0.5, 1)
    return {"verified": [row], "rejected": [], "shards": list(shards.items())}


class Writer:
    """Publishes tables given as rows, under the code version "code"."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(
        self, key: str, rows: Mapping[str, Any], inputs: tuple[str, ...] = (), model: str = "", **facts: Any
    ) -> str:
        with self.store.draft(f"toy/{key}") as draft:
            for name, values in rows.items():
                draft.table(name, pl.DataFrame(values, schema=columns_of(name), orient="row"))
            if model:
                draft.path("model").mkdir()
                draft.path("model/model.safetensors").write_text(model)
            return draft.publish("code", {f"toy/{i}": self.version(i) for i in inputs}, Facts(**facts)).version

    def version(self, key: str) -> str:
        manifest = self.store.current(f"toy/{key}")
        assert manifest is not None, key
        return manifest.version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the whole experiment, written once."""
    root = tmp_path_factory.mktemp("written")
    put = Writer(Store(root))
    put("problems", PROBLEMS)
    put("round_00/policy", {"examples": TAUGHT}, ("problems",), "base", wall_s=10.0, cpu_s=12.0, tokens=100)
    first_round(put)
    second_round(put)
    return root


@pytest.fixture
def write(written: Path, store: Store) -> Writer:
    """The experiment in the test's own store, and a writer to go on with."""
    shutil.copytree(written, store.root, dirs_exist_ok=True)
    return Writer(store)


def first_round(put: Writer) -> None:
    put("round_01/pool", POOLS[1], ("problems",))
    made_of = ("round_01/pool", "round_00/policy")
    first = put(
        "round_01/trajectories/000",
        tree("p1", {"0.1": (0.5, None), "0.1.1": (1.0, True)}),
        made_of,
        wall_s=2.0,
        tokens=30,
    )
    other = put("round_01/trajectories/001", tree("p2", {"0.1": (-1.0, False)}), made_of, wall_s=3.0, tokens=20)
    shards = ("round_01/trajectories/000", "round_01/trajectories/001")
    put("round_01/verified", verified(T1, "p1", "gcd", {"000": first, "001": other}), ("round_01/pool", *shards))
    pair = (PAIR, "p1", "step", "train", "gcd?", "", "good", "bad", 1.0, -1.0, 1.0)
    held = ("b" * 16, "p2", "step", "held_out", "lcm?", "", "good", "bad", 1.0, -1.0, 1.0)
    put("round_01/pairs", {"pairs": [pair, held], "pair_rejects": [("margin", 3)]}, ("round_01/pool", *shards))
    examples = [*TAUGHT, ("found", "verified", 1, "p1", T1, 3.0)]
    put("round_01/policy", {"examples": examples}, ("problems", "round_00/policy", "round_01/verified"), "one")
    put("round_01/control", {"examples": TAUGHT}, ("problems", "round_00/policy"), "control")
    scores = [(PAIR, "train", 0.9, -0.9)]
    put("round_01/ppm", {"pair_scores": scores}, ("round_01/policy", "round_01/pairs"), "ppm")
    asked = ("problems", "round_01/pool")
    put("round_01/evaluation", evaluation(), (*asked, "round_01/policy", "round_01/ppm", "round_01/verified"))


def evaluation() -> dict[str, Any]:
    rows = [
        ("h1", "policy", "greedy", 0, "answer", "3", True, 9, None),
        ("h1", "policy", "sampled", 0, "answer", "4", False, 9, 0.9),
        ("h1", "policy", "sampled", 1, "answer", "5", False, 9, 0.1),
    ]
    metrics = [
        ("policy", "mcts_pass@1", "all", "all", 0.75, 0.5, 1.0, 4),
        ("policy", "greedy_pass@1", "all", "all", 0.5, 0.0, 1.0, 4),
        ("policy", "matched_pass@1", "all", "all", 0.5, 0.0, 1.0, 4),
        ("policy", "mcts_tokens", "all", "all", 90.0, 80.0, 95.0, 4),
    ]
    return {"evaluations": rows, "metrics": metrics, "soundness": [(T1, 5, 4, 0)]}


def second_round(put: Writer) -> None:
    put("round_02/pool", POOLS[2], ("problems", "round_01/pool"))
    made_of = ("round_02/pool", "round_01/policy", "round_01/ppm")
    found = put("round_02/trajectories/000", tree("p3", {"0.1": (1.0, True), "0.2": (-1.0, False)}, 0.8), made_of)
    put("round_02/verified", verified(T3, "p3", "lcm", {"000": found}), ("round_02/pool", "round_02/trajectories/000"))
    examples = [*TAUGHT, ("found", "verified", 1, "p1", T1, 3.0), ("again", "verified", 2, "p3", T3, 3.0)]
    histories = ("round_01/verified", "round_02/verified")
    put("round_02/policy", {"examples": examples}, ("problems", "round_00/policy", *histories), "two")
