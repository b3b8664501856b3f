"""`pairs`: those of every shard, with what was dropped, by reason."""

from typing import Any

from assets import pairs
from assets.graph import unroll
from assets.work import Plan, Work, present_inputs
from perseid.artifacts import Store
from perseid.experiment import Experiment
from perseid.tables import frame
from tests.assets.conftest import TOOLS, publish

EXPERIMENT = Experiment.model_validate(
    {"name": "x", "problems": TOOLS, "shards": 2, "selection": {"pairs": {"min_edit": 1}}, "rounds": [{}]}
)
GRAPH = unroll(EXPERIMENT)
KEY, END = "x/round_01/pairs", "<|end_of_answer|>"


def tree(problem_id: str, answers: list[tuple[str, bool]]) -> dict[str, Any]:
    """A tree of depth one: an answer a child, right or not."""
    nodes = [(problem_id, "0", "", 0, "open", len(answers), 0.0, 0.0, None, None, None, None, None, 0)]
    texts, leaves = [], []
    for n, (text, right) in enumerate(answers, 1):
        q = 1.0 if right else -1.0
        node = (problem_id, f"0.{n}", "0", 1, "answer", 1, q, q, None, "1", right, "ok", "fast", 5)
        nodes.append(node)
        texts.append((problem_id, f"0.{n}", f"{text}{END}", "1\n", ""))
        leaves.append((f"{n}{problem_id[1:]}".rjust(16, "0"), problem_id, f"0.{n}", "1", right, q, q, 1, 5, n))
    root = sum(1.0 if right else -1.0 for _, right in answers)
    nodes[0] = (problem_id, "0", "", 0, "open", len(answers), root, root / len(answers), *[None] * 5, 0)
    return {"nodes": nodes, "texts": texts, "trajectories": leaves}


def test_right_answers_are_preferred_to_wrong_ones_of_the_same_problem_in_every_shard(store: Store) -> None:
    problems = [(f"p{n}", "tools", "number", f"GCD of {n}, 6") for n in range(3)]
    publish(
        store,
        "x/round_01/pool",
        {
            "problems": frame("problems", problems),
            "gold": frame("gold", [(p[0], "1") for p in problems]),
            "pools": frame("pools", [(1, "pool", p[0]) for p in problems]),
            "facets": frame("facets", [(p[0], "family", "gcd") for p in problems]),
        },
    )
    shards = {
        "000": [tree("p0", [("print(1)", True), ("print(len('no'))", False)])],
        "001": [tree("p1", [("print(1)", True), ("print(2 - 1)", True)]), tree("p2", [("f(1)", True), ("x", False)])],
    }
    for shard, trees in shards.items():
        rows = {name: [row for found in trees for row in found[name]] for name in ("nodes", "texts", "trajectories")}
        publish(store, f"x/round_01/trajectories/{shard}", {name: frame(name, each) for name, each in rows.items()})
    plan, none = Plan(EXPERIMENT, GRAPH, GRAPH[KEY]), None
    nobody: Any = none
    with store.draft(KEY) as draft:
        work = Work(plan, None, store, nobody, draft, nobody, lambda report: None, present_inputs(plan, store))
        told, manifest = pairs.make(work), draft.publish("code", {})
    found = store.read(manifest, "pairs")
    assert set(found["problem_id"]) == {"p0", "p2"}
    assert set(found.filter(problem_id="p0").select("chosen", "rejected").rows()) == {
        (f"print(1){END}", f"print(len('no')){END}")
    }
    assert told.metrics == {"pairs": found.height}
    assert dict(store.read(manifest, "pair_rejects").rows())["no_contrast"] == 1
