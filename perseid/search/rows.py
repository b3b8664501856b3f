"""Trees as tables: `nodes` (numbers), `texts` (what a scan of numbers need not read), `trajectories`, `searches`.

Rows are sorted by their first columns and hold nothing of a clock or a machine, so equal trees give equal frames.
A trajectory is the path to a valid answer, right or wrong. Its text is not repeated: it is the texts along its path.
An answer that the grader cannot tell of is no trajectory: it is a node without a verdict, and `searches.untold` counts
it among `searches.answers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from perseid.search.tree import Node, Tree, path_q, trajectory_id

NODES: Final = {
    "problem_id": pl.String,
    "node_id": pl.String,
    "parent_id": pl.String,
    "depth": pl.Int64,
    "status": pl.String,
    "visits": pl.Int64,
    "value_sum": pl.Float64,
    "q": pl.Float64,
    "prior": pl.Float64,
    "answer": pl.String,
    "correct": pl.Boolean,
    "execution": pl.String,
    "tier": pl.String,
    "tokens": pl.Int64,
}
TEXTS: Final = {
    "problem_id": pl.String,
    "node_id": pl.String,
    "text": pl.String,
    "stdout": pl.String,
    "error": pl.String,
}
TRAJECTORIES: Final = {
    "trajectory_id": pl.String,
    "problem_id": pl.String,
    "node_id": pl.String,
    "answer": pl.String,
    "correct": pl.Boolean,
    "mean_q": pl.Float64,
    "min_q": pl.Float64,
    "steps": pl.Int64,
    "tokens": pl.Int64,
    "rollout": pl.Int64,
}
SEARCHES: Final = {
    "problem_id": pl.String,
    "solved": pl.Boolean,
    "rollouts": pl.Int64,
    "nodes": pl.Int64,
    "tokens": pl.Int64,
    "answers": pl.Int64,
    "correct_answers": pl.Int64,
    "difficulty": pl.String,
    "ended": pl.String,
    "samples": pl.Int64,
    "merged": pl.Int64,
    "refused": pl.Int64,
    "executions": pl.Int64,
    "untold": pl.Int64,
}


SORTED_BY: Final = {"nodes": 2, "texts": 2, "trajectories": 3, "searches": 1}
PACKED_NODES: Final = 20_000


class Rows:
    """Takes finished trees and keeps their rows alone, packed: a tree need not outlive its search."""

    def __init__(self) -> None:
        self._packed: dict[str, list[pl.DataFrame]] = {name: [] for name in SORTED_BY}
        self._trees: list[Tree] = []
        self._nodes = 0

    def add(self, tree: Tree) -> None:
        self._trees.append(tree)
        self._nodes += len(tree.nodes)
        if self._nodes >= PACKED_NODES:
            self._pack()

    def tables(self) -> dict[str, pl.DataFrame]:
        """The four tables of a trajectories artifact, by name; the order of the trees leaves no trace."""
        self._pack()
        return {
            name: pl.concat(parts).sort(parts[0].columns[: SORTED_BY[name]]) for name, parts in self._packed.items()
        }

    def _pack(self) -> None:
        for name, frame in _frames(self._trees).items():
            self._packed[name].append(frame)
        self._trees, self._nodes = [], 0


def tables(trees: Sequence[Tree]) -> dict[str, pl.DataFrame]:
    """The four tables of a trajectories artifact, by name."""
    rows = Rows()
    for tree in trees:
        rows.add(tree)
    return rows.tables()


def _frames(trees: Sequence[Tree]) -> dict[str, pl.DataFrame]:
    nodes = [(tree.problem_id, node) for tree in trees for node in tree.nodes]
    answers = [(tree.problem_id, node) for tree in trees for node in tree.told()]
    texts = ((p, n.node_id, n.text, n.stdout, n.error) for p, n in nodes if n.parent is not None)
    return {
        "nodes": _frame(NODES, (_node(*node) for node in nodes)),
        "texts": _frame(TEXTS, texts),
        "trajectories": _frame(TRAJECTORIES, (_trajectory(*node) for node in answers)),
        "searches": _frame(SEARCHES, (_search(tree) for tree in trees)),
    }


def _frame(schema: dict[str, Any], rows: Iterator[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def _node(problem_id: str, node: Node) -> tuple[Any, ...]:
    stats, parent_id = node.stats, node.parent.node_id if node.parent is not None else ""
    numbers = (stats.status, stats.visits, stats.value_sum, stats.q, stats.prior)
    verdict = (node.answer, node.correct, node.execution, node.tier, node.tokens)
    return (problem_id, node.node_id, parent_id, node.depth, *numbers, *verdict)


def _trajectory(problem_id: str, node: Node) -> tuple[Any, ...]:
    path = node.path()
    name = trajectory_id(problem_id, "".join(step.text for step in path))
    sizes = (sum(step.steps for step in path), sum(step.tokens for step in path), node.rollout)
    return (name, problem_id, node.node_id, node.answer, node.correct, *path_q(node), *sizes)


def _search(tree: Tree) -> tuple[Any, ...]:
    answers = tree.answers()
    correct = sum(bool(node.correct) for node in answers)
    counts = (tree.rollouts, len(tree.nodes), tree.tokens, len(answers), correct)
    work = (tree.ended, tree.samples, tree.merged, tree.refused, tree.executions, tree.untold)
    return (tree.problem_id, tree.solved, *counts, tree.difficulty, *work)
