"""Preference pairs for the PPM (rStar-Math, arXiv 2501.04519, section 3.3).

Step pairs: at a node with right and wrong answers below it, up to 2 children with the highest Q that lead to a right
answer against up to 2 with the lowest Q that lead to a wrong one (4 when the other side has a single one). A pair
stays when Q(chosen) > Q(rejected), when the best continuation of the one has a higher mean Q than the worst of the
other, when the margin of Q and the edit distance of the steps are large enough. Its weight is 1/n over the n pairs of
its node that stayed. Failed steps are in no pair: they lead to no answer. Of equal texts only the first in rank counts,
so a method that keeps every sample makes no pair heavier by it.
Final pairs (the paper's rule for the answer step): the 2 right trajectories with the highest mean Q against the 2 wrong
ones with the lowest, whole responses compared; weight 1/n over the problem's.
Problems are split by the hash of their id, so that no problem is in both parts. What is dropped is counted by reason.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Final

import polars as pl
from rapidfuzz.distance import Levenshtein

from perseid.formats import Format
from perseid.selection.settings import Pairs
from perseid.selection.verified import ancestors
from perseid.tables import frame

REASONS: Final = ("no_contrast", "order", "continuation", "margin", "edit", "duplicate")


@dataclass(slots=True)
class Branch:
    """A node as pairs see it: its step, its Q, and the mean Q of the best right and worst wrong way on from it."""

    text: str
    q: float
    children: list[Branch] = field(default_factory=list)
    best_right: float | None = None  # mean Q over the steps from this one to the answer; None without a right answer
    worst_wrong: float | None = None


@dataclass(frozen=True, slots=True)
class _Pair:
    prefix: str
    chosen: str
    rejected: str
    q_chosen: float
    q_rejected: float


def build_pairs(
    tables: dict[str, pl.DataFrame], problems: pl.DataFrame, format: Format, settings: Pairs
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(`pairs`, `pair_rejects`) of the tables `nodes`, `texts` and `trajectories`."""
    questions = dict(problems.select("problem_id", "question").iter_rows())
    rejects: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
    rows: dict[str, tuple[Any, ...]] = {}
    for problem_id, root, answers in _trees(tables):
        if len({correct for _, _, correct in answers}) < 2:
            rejects["no_contrast"] += 1
            continue
        question = questions[problem_id]
        told = format.prompt(question).text
        groups = [("step", kept) for kept in _step_pairs(root, settings, rejects)]
        if settings.final:
            groups.append(("final", _final_pairs(answers, settings)))
        for kind, pairs in groups:
            for pair in pairs:
                named = "\0".join((problem_id, kind, told + pair.prefix, pair.chosen, pair.rejected))
                pair_id = hashlib.sha256(named.encode()).hexdigest()[:16]
                about = (pair_id, problem_id, kind, split_of(problem_id, settings.held_out), question)
                row = (*about, *astuple(pair), 1.0 / len(pairs))
                rejects["duplicate"] += rows.setdefault(row[0], row) is not row
    return frame("pairs", rows.values()), frame("pair_rejects", rejects.items())


def split_of(problem_id: str, held_out: float) -> str:
    """`held_out` for that share of problems, by the hash of the id; `train` for the others."""
    share = int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[:8], "big") / 2**64
    return "held_out" if share < held_out else "train"


def edges(root: Branch) -> Iterator[tuple[str, Branch]]:
    """Nodes with right and wrong answers below them, breadth first, each with the steps that lead to it."""
    level = [("", root)]
    while level:
        level = [(text, node) for text, node in level if node.best_right is not None and node.worst_wrong is not None]
        yield from level
        level = [(text + child.text, child) for text, node in level for child in node.children]


def contrasts(node: Branch, settings: Pairs) -> list[tuple[Branch, Branch]]:
    """The combinations of the best children that lead to right answers and the worst that lead to wrong ones."""
    right = _distinct(sorted((c for c in node.children if c.best_right is not None), key=lambda c: -c.q))
    wrong = _distinct(sorted((c for c in node.children if c.worst_wrong is not None), key=lambda c: c.q))
    positives = settings.positives * (2 if len(wrong) == 1 else 1)
    negatives = settings.negatives * (2 if len(right) == 1 else 1)
    return [(p, n) for p in right[:positives] for n in wrong[:negatives] if p is not n]


def _distinct(ranked: Sequence[Branch]) -> list[Branch]:
    first: dict[str, Branch] = {}
    for branch in ranked:
        first.setdefault(branch.text, branch)
    return list(first.values())


def fault(chosen: Branch, rejected: Branch, settings: Pairs) -> str:
    """Why two siblings are no pair; "" when they are one."""
    assert chosen.best_right is not None
    assert rejected.worst_wrong is not None
    if chosen.q <= rejected.q:
        return "order"
    if chosen.best_right <= rejected.worst_wrong:
        return "continuation"
    if chosen.q - rejected.q < settings.margin:
        return "margin"
    return "edit" if Levenshtein.distance(chosen.text, rejected.text) < max(1, settings.min_edit) else ""


def _step_pairs(root: Branch, settings: Pairs, rejects: Counter[str]) -> Iterator[list[_Pair]]:
    """The pairs that stay, one list a node."""
    for text, node in edges(root):
        kept = []
        for chosen, rejected in contrasts(node, settings):
            if reason := fault(chosen, rejected, settings):
                rejects[reason] += 1
            else:
                kept.append(_Pair(text, chosen.text, rejected.text, chosen.q, rejected.q))
        if kept:
            yield kept


def _final_pairs(answers: list[tuple[str, float, bool]], settings: Pairs) -> list[_Pair]:
    right, wrong = dict[str, float](), dict[str, float]()
    for response, q, correct in sorted(answers, key=lambda a: (-a[1], a[0])):
        if correct:
            right.setdefault(response, q)
    for response, q, correct in sorted(answers, key=lambda a: (a[1], a[0])):
        if not correct:
            wrong.setdefault(response, q)
    best, worst = list(right.items())[: settings.positives], list(wrong.items())[: settings.negatives]
    return [_Pair("", r, w, q_right, q_wrong) for r, q_right in best for w, q_wrong in worst if r != w]


def _trees(tables: dict[str, pl.DataFrame]) -> Iterator[tuple[str, Branch, list[tuple[str, float, bool]]]]:
    """Each problem's tree and its answers: (response, mean Q, right)."""
    nodes = tables["nodes"].join(tables["texts"], on=["problem_id", "node_id"], how="left")
    columns = nodes.select("problem_id", "node_id", "parent_id", "text", "q")
    trees: dict[str, dict[str, Branch]] = defaultdict(dict)
    parents: list[tuple[str, str, str]] = []
    for problem_id, node_id, parent_id, text, q in columns.iter_rows():
        trees[problem_id][node_id] = Branch(text or "", q)
        if parent_id:
            parents.append((problem_id, node_id, parent_id))
    for problem_id, node_id, parent_id in sorted(parents, key=lambda row: (row[0], _numbers(row[1]))):
        trees[problem_id][parent_id].children.append(trees[problem_id][node_id])
    for problem_id, verdicts in sorted(_verdicts(tables["trajectories"]).items()):
        tree = trees[problem_id]
        paths = [([tree[node_id] for node_id in ancestors(leaf)], correct) for leaf, correct in verdicts]
        for path, correct in paths:
            _mark([tree["0"], *path], correct)
        yield problem_id, tree["0"], [("".join(s.text for s in path), _mean(path), correct) for path, correct in paths]


def _verdicts(trajectories: pl.DataFrame) -> dict[str, list[tuple[str, bool]]]:
    """The graded answers of each problem: (node id, right)."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    graded = trajectories.filter(pl.col("correct").is_not_null()).select("problem_id", "node_id", "correct")
    for problem_id, node_id, correct in graded.iter_rows():
        found[problem_id].append((node_id, correct))
    return {problem_id: sorted(leaves, key=lambda leaf: _numbers(leaf[0])) for problem_id, leaves in found.items()}


def _mark(path: list[Branch], correct: bool) -> None:
    """Note on every node of a path to an answer how good the way on from it was, itself included."""
    for start, node in enumerate(path):
        mean = _mean(path[start:])
        if correct:
            node.best_right = mean if node.best_right is None else max(node.best_right, mean)
        else:
            node.worst_wrong = mean if node.worst_wrong is None else min(node.worst_wrong, mean)


def _mean(path: list[Branch]) -> float:
    return sum(step.q for step in path) / len(path)


def _numbers(node_id: str) -> list[int]:
    return [int(part) for part in node_id.split(".")]
