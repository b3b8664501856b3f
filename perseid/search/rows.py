"""Trees as tables: `nodes` (numbers), `texts` (what a scan of numbers need not read), `trajectories`, `searches`.

Rows are sorted by their first columns and hold nothing of a clock or a machine, so equal trees give equal frames.
A trajectory is the path to a valid answer, right or wrong. Its text is not repeated: it is the texts along its path.
An answer that the grader cannot tell of is no trajectory: it is a node without a verdict, and `searches.untold` counts
it among `searches.answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import polars as pl

from perseid.search.tree import Node, Tree, path_q, trajectory_id
from perseid.tables import frame, key_of

NAMES: Final = ("nodes", "texts", "trajectories", "searches")
PACKED_NODES: Final = 20_000


class Rows:
    """Takes finished trees and keeps their rows alone, packed: a tree need not outlive its search."""

    def __init__(self) -> None:
        self._packed: dict[str, list[pl.DataFrame]] = {name: [] for name in NAMES}
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
        return {name: pl.concat(parts).sort(key_of(name)) for name, parts in self._packed.items()}

    def _pack(self) -> None:
        for name, rows in _frames(self._trees).items():
            self._packed[name].append(rows)
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
    texts = (_text(*node) for node in nodes if node[1].parent is not None)
    return {
        "nodes": frame("nodes", (_node(*node) for node in nodes)),
        "texts": frame("texts", texts),
        "trajectories": frame("trajectories", (_trajectory(*node) for node in answers)),
        "searches": frame("searches", (_search(tree) for tree in trees)),
    }


def _node(problem_id: str, node: Node) -> tuple[Any, ...]:
    stats, parent_id = node.stats, node.parent.node_id if node.parent is not None else ""
    numbers = (stats.status, stats.visits, stats.value_sum, stats.q, stats.prior)
    ran = (None, None) if node.outcome is None else (node.outcome.status, node.outcome.tier)
    verdict = (node.answer, node.correct, *ran, node.draft.tokens)
    return (problem_id, node.node_id, parent_id, node.depth, *numbers, *verdict)


def _text(problem_id: str, node: Node) -> tuple[str, ...]:
    printed, error = (node.outcome.stdout, node.outcome.error) if node.outcome is not None else ("", "")
    return (problem_id, node.node_id, node.text, printed, error)


def _trajectory(problem_id: str, node: Node) -> tuple[Any, ...]:
    path = node.path()
    name = trajectory_id(problem_id, "".join(step.text for step in path))
    sizes = (sum(step.draft.steps for step in path), sum(step.draft.tokens for step in path), node.rollout)
    return (name, problem_id, node.node_id, node.answer, node.correct, *path_q(node), *sizes)


def _search(tree: Tree) -> tuple[Any, ...]:
    answers = tree.answers()
    correct = sum(bool(node.correct) for node in answers)
    counts = (tree.rollouts, len(tree.nodes), tree.tokens, len(answers), correct)
    work = (tree.ended, tree.samples, tree.merged, tree.refused, tree.executions, tree.untold, tree.cut)
    return (tree.problem_id, tree.solved, *counts, tree.difficulty, *work, tree.unanswered)
