"""The tree of one search: nodes, their statistics, and the rows they become.

A node is a step: what an action drafted, what the sandbox said, and the
statistics N (visits), W (value_sum) and prior that selection reads. Selection is handed `Stats` alone, so whether an
answer is right (`Node.correct`, written by the kernel from the grader's verdicts) cannot steer it.
No clock and no machine stand in a row: equal searches give equal rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from perseid.endings import Difficulty, Ended, NodeStatus
from perseid.formats import Draft
from perseid.search.requests import Outcome

NOTHING: Final = Draft("", steps=0)  # of the root


@dataclass(slots=True)
class Stats:
    """All that selection and back-up may see of a node. value_sum / visits is in [-1, 1]."""

    visits: int = 0
    value_sum: float = 0.0
    prior: float | None = None  # what is held of the prefix that ends here, most often by the PPM; in [-1, 1]
    status: NodeStatus = "open"

    @property
    def q(self) -> float:
        return self.value_sum / self.visits if self.visits else 0.0


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """One step. `node_id` is its path: "0" for the root, "0.3.1" for the first child of the root's third."""

    node_id: str
    parent: Node | None
    depth: int  # steps from the root
    draft: Draft = NOTHING
    stats: Stats = field(default_factory=Stats)
    rollout: int = 0  # the rollout that made it, counted from 1
    answer: str | None = None
    correct: bool | None = None  # None too where the grader cannot tell
    reward: float | None = None  # an answer's; None where it is worth nothing to anybody
    outcome: Outcome | None = None  # of its program; None: it was not run
    failures: int = 0  # consecutive failed steps up to here
    samples: int = 0  # drawn below this node, duplicates included
    children: list[Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.draft.text

    @property
    def ran(self) -> bool:
        """Whether its program ran to its end, and so left its trace in the interpreter."""
        return self.outcome is not None and self.outcome.status == "ok"

    def path(self) -> list[Node]:
        """The nodes from the first step to this one; the root, which is no step, is left out."""
        nodes: list[Node] = []
        node = self
        while node.parent is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def lineage(self) -> Iterator[Node]:
        """This node, its parent and so on, the root included."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


@dataclass(slots=True, eq=False, repr=False)
class Tree:
    """One problem's search. `tokens` counts every generated token, those of merged and dropped samples included.

    ended: why it ended: the method had enough (`done`), its vote was `decided` early, nothing was left to sample
        (`exhausted`), a limit of the settings, or the engine refused the question itself.
    merged: samples equal to a child there is, or dropped.
    """

    problem_id: str
    root: Node
    nodes: list[Node]  # in the order of their making, the root first
    rollouts: int = 0
    tokens: int = 0
    solved: bool = False  # a right answer is among them; False as well when nothing is graded
    ended: Ended = "done"
    samples: int = 0
    merged: int = 0
    refused: int = 0  # samples that the engine would not draw
    cut: int = 0  # samples that the length limit ended
    executions: int = 0  # distinct programs that were asked for
    untold: int = 0  # answers of which the grader cannot tell whether they are right

    @classmethod
    def of(cls, problem_id: str) -> Tree:
        root = Node("0", None, 0)
        return cls(problem_id, root, [root])

    def add(self, parent: Node, draft: Draft) -> Node:
        stats = Stats(0, 0.0, draft.prior)
        child = Node(f"{parent.node_id}.{len(parent.children) + 1}", parent, parent.depth + 1, draft, stats)
        child.rollout, child.failures = self.rollouts, parent.failures
        parent.children.append(child)
        self.nodes.append(child)
        return child

    def answers(self) -> list[Node]:
        return [node for node in self.nodes if node.stats.status == "answer"]

    @property
    def unanswered(self) -> int:
        """Endings that came to no answer: nothing was printed, or no rule finds one in the text."""
        return sum(node.draft.ends and node.draft.parsed and node.stats.status == "unparsable" for node in self.nodes)

    def told(self) -> list[Node]:
        """The answers without those that the grader cannot tell of; where nothing is graded, all of them."""
        return [node for node in self.answers() if node.correct is not None or not self.untold]

    @property
    def difficulty(self) -> Difficulty:
        """All answers told right: easy; some: medium; none (or no answer): hard (rStar-Math, section 3.4)."""
        verdicts = [bool(node.correct) for node in self.told()]
        if not any(verdicts):
            return "hard"
        return "easy" if all(verdicts) else "medium"


def close(node: Node, *, upwards: bool = True) -> None:
    """Mark `node` exhausted when none of its children is open, and so on upwards."""
    here: Node | None = node
    while here is not None and all(child.stats.status != "open" for child in here.children):
        if here.stats.status == "open":
            here.stats.status = "exhausted"
        here = here.parent if upwards else None


def reopen(node: Node) -> None:
    """Undo `close` along the path to `node`, which has gained an open child."""
    for here in node.lineage():
        if here.stats.status == "exhausted":
            here.stats.status = "open"


def path_q(node: Node) -> tuple[float, float]:
    """(mean, minimum) of Q over the steps that lead to `node`."""
    values = [step.stats.q for step in node.path()]
    return sum(values) / len(values), min(values)


def trajectory_id(problem_id: str, response: str) -> str:
    """16 hex digits that name a response to a problem, whatever tree it came from."""
    return hashlib.sha256(f"{problem_id}\0{response}".encode()).hexdigest()[:16]
