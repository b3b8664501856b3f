"""Search of one problem as a pure generator: it yields requests, is sent their answers, and returns a tree.

A rollout walks from the root along the children that its method goes on to. A node that has no children yet is expanded
on the way: its actions draft steps side by side, the new ones are run, scored and graded, and the method backs up what
they are worth, or simulates further. How a tree grows is the method's (`perseid.search.method`); limits, execution and
the isolation of gold are not: a method asks for proposals and scores, and is answered nothing else.

It holds no engine, no clock and no global state, so any driver can run it and a journal can replay it. Assumes that the
answers sent are those of the request last yielded; knows whether answers are graded, never what the right ones are. An
answer of which the grader cannot tell whether it is right is counted (`Tree.untold`) and worth nothing: it is no
reward, it is not backed up, and search goes on as if it were not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from perseid.engine import Completion
from perseid.formats import Draft
from perseid.problems.problem import Problem
from perseid.search.method import Leaf, Method, Rated, Standing, Stop, View
from perseid.search.requests import (
    PPM,
    Asking,
    Batch,
    Execute,
    Grade,
    Outcome,
    Propose,
    Score,
    asks_of,
    derived_seeds,
    execute,
    grade,
    score,
    together,
)
from perseid.search.tree import Node, Tree, close, reopen
from perseid.search.votes import lead

VERSION = "3"  # part of the journal's key: raise it when the same answers would give another tree
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Search:
    """What stays the same during a search."""

    problem: Problem
    method: Method
    seed: int
    graded: bool


def search(problem: Problem, method: Method, seed: int, graded: bool = True) -> Asking[Tree]:
    """Rollouts until the method has enough or a limit is reached. Without grading (inference) priors reward answers.

    A limit of tokens or nodes is looked at before each expansion and each proposal of a simulation, so a tree passes it
    by less than one of them.
    """
    run, tree = _Search(problem, method, seed, graded), Tree.of(problem.problem_id)
    try:
        while method.goes_on(_standing(run, tree)):
            tree.rollouts += 1
            yield from _rollout(run, tree)
        tree.ended = "exhausted" if tree.root.stats.status == "exhausted" else "done"
    except Stop as stop:
        tree.ended = stop.why
    return tree


def picked(tree: Tree, method: Method) -> str | None:
    """The answer of a finished search, without gold; None when there is none."""
    return method.pick([Rated(node.answer or "", node.stats.q) for node in tree.answers()])


def _rollout(run: _Search, tree: Tree) -> Asking[None]:
    """Select, expand, (simulate,) back up: a walk from the root to where it ends.

    In a tree that was exhausted every node on the way is sampled again.
    """
    node, again = tree.root, tree.root.stats.status == "exhausted"
    while node.stats.status in ("open", "exhausted"):
        grown = again or not node.children
        if grown:
            yield from _expand(run, tree, node)
        child = _select(run, tree, node, grown)
        if child is None:
            close(node, upwards=run.method.closes_upwards)
            break
        node = child
    path = [above.stats for above in node.lineage()]
    run.method.landed(path[1:], Leaf(node.draft, node.stats, node.reward))


def _select(run: _Search, tree: Tree, node: Node, grown: bool) -> Node | None:
    if not node.children:
        return None

    def draw(n: int) -> int:
        return derived_seeds(run.seed, tree.problem_id, node.node_id, [f"tie {tree.rollouts}"])[0] % n

    chosen = run.method.next(node.stats, [child.stats for child in node.children], grown, draw)
    return None if chosen is None else node.children[chosen]


def _expand(run: _Search, tree: Tree, node: Node) -> Asking[None]:
    """Draft steps, run, score and grade them; then what the method makes of the new children."""
    _within_limits(run, tree)
    path, seeds = node.path(), _Seeds(run, node, "")
    view = _view(run, tree, path, seeds)
    children = _add(run, tree, node, (yield from _draft(run, tree, node, view)))
    yield from _execute(run, tree, node, path, [child for child in children if child.stats.status == "open"])
    if any(child.stats.status == "open" for child in children):
        reopen(node)
    yield from _score(run, children)
    yield from _grade(run, tree, children)
    new = [Leaf(child.draft, child.stats, child.reward) for child in children]
    grown = run.method.grown(view, [above.stats for above in node.lineage()], new)
    yield from _counted(run, tree, grown, limited=True)
    node.samples += seeds.count


def _within_limits(run: _Search, tree: Tree) -> None:
    limits = run.method.limits
    if limits.tokens and tree.tokens >= limits.tokens:
        raise Stop("tokens")
    if limits.nodes and len(tree.nodes) > limits.nodes:
        raise Stop("nodes")


def _draft(run: _Search, tree: Tree, node: Node, view: View) -> Asking[list[Draft]]:
    """What the node's actions draft, side by side. A node of which the engine refuses every sample is closed."""
    taken, refused = tree.samples, tree.refused
    actions = run.method.actions(view)
    if len(actions) == 1:
        drafts = yield from _counted(run, tree, actions[0].ask(view))
    else:
        others = [_Seeds(run, node, f"{action.name} ") for action in actions[1:]]
        views = [view, *(view._replace(seeds=seeds) for seeds in others)]
        asking = [action.ask(seen) for action, seen in zip(actions, views[: len(actions)], strict=True)]
        drafts = [draft for some in (yield from _counted(run, tree, together(asking))) for draft in some]
        node.samples += sum(seeds.count for seeds in others)
    if tree.samples == taken and tree.refused > refused:
        node.stats.status = "refused"
        if node is tree.root:
            raise Stop("refused")
    return drafts


class _Seeds:
    """The seeds of one action at one node, in the order in which it asks for them.

    The first action's samples are named by their number alone, and those of a simulation follow them; others are named
    by their action as well.
    """

    __slots__ = ("count", "name", "node", "run")

    def __init__(self, run: _Search, node: Node, name: str) -> None:
        self.run, self.node, self.name, self.count = run, node, name, 0

    def __call__(self, count: int) -> tuple[int, ...]:
        first = self.node.samples + self.count
        self.count += count
        numbers = range(first, first + count)
        samples = [f"{self.name}{number}" for number in numbers] if self.name else numbers
        return derived_seeds(self.run.seed, self.run.problem.problem_id, self.node.node_id, samples)


def _counted(run: _Search, tree: Tree, asking: Asking[T], *, limited: bool = False) -> Asking[T]:
    """What a method asks, let through and counted: proposals and scores, and nothing else."""
    answers: Any = None
    while True:
        try:
            request = asking.send(answers)
        except StopIteration as end:
            result: T = end.value
            return result
        if limited:
            _within_limits(run, tree)
        if isinstance(request, Propose):
            answers = yield request
            _count(tree, answers)
            continue
        asks = asks_of(request)
        for ask in asks:
            assert isinstance(ask, Propose | Score), f"a method asks for proposals and scores, not {type(ask).__name__}"
        answers = yield request
        if isinstance(request, Batch):
            for ask, answer in zip(asks, answers, strict=True):
                if isinstance(ask, Propose):
                    _count(tree, answer)


def _count(tree: Tree, completions: Sequence[Completion]) -> None:
    refused = tokens = cut = 0
    for _, stop, num_tokens, refusal in completions:
        if refusal:
            refused += 1
        else:
            tokens += num_tokens
            cut += not stop
    tree.samples += len(completions) - refused
    tree.refused += refused
    tree.tokens += tokens
    tree.cut += cut


def _add(run: _Search, tree: Tree, node: Node, drafts: Sequence[Draft]) -> list[Node]:
    """The children that these drafts make; those that need no execution are closed already, unless they go on."""
    children, deepest = [], run.method.limits.depth
    for draft in run.method.keep(drafts, [child.draft for child in node.children]):
        child = tree.add(node, draft)
        if not draft.parsed:
            child.stats.status = "unparsable"
        elif child.depth > deepest > 0:
            child.stats.status = "too_deep"
        elif draft.program is None and draft.ends:
            _conclude(child, _told(run, child) if draft.answer is None else draft.answer)
        children.append(child)
    tree.merged += len(drafts) - len(children)
    return children


def _told(run: _Search, child: Node) -> str | None:
    """The answer of a response that nothing runs."""
    return run.method.format.answer("".join(step.text for step in child.path()), "")


def _conclude(child: Node, answer: str | None) -> None:
    child.answer, child.stats.status = (answer, "answer") if answer is not None else (None, "unparsable")


def _execute(run: _Search, tree: Tree, node: Node, path: Sequence[Node], children: Sequence[Node]) -> Asking[None]:
    """Run each distinct program once; decide each child's status by the execution's."""
    by_code: dict[str, list[Node]] = {}
    for child in children:
        if (program := child.draft.program) is not None:
            by_code.setdefault(program, []).append(child)
    if not by_code:
        return
    tree.executions += len(by_code)
    keep = tuple(next((c.node_id for c in same if not c.draft.ends), "") for same in by_code.values())
    outcomes = yield from execute(Execute(node.node_id, _ran(run, path), tuple(by_code), keep))
    failures, answer = run.method.limits.failures, run.method.format.answer
    for outcome, same in zip(outcomes, by_code.values(), strict=True):
        for child in same:
            _judge(child, outcome, failures)
            if child.draft.ends and outcome.status == "ok":
                _conclude(child, answer(child.text, outcome.stdout))


def _judge(child: Node, outcome: Outcome, failures: int) -> None:
    """Only a step that ran counts; failures in a row close a node once they reach the threshold."""
    child.outcome = outcome
    child.failures = 0 if outcome.status == "ok" else child.failures + 1
    if outcome.status != "ok" and (child.draft.ends or child.failures >= failures):
        child.stats.status = "error"


def _score(run: _Search, children: Sequence[Node]) -> Asking[None]:
    """The PPM's score of open children and answers, where there is a PPM; then the value each child starts with."""
    scored = [child for child in children if child.stats.status in ("open", "answer")]
    if scored and PPM in run.method.roles:
        prompt, question = run.method.format.prompt, run.problem.question
        scores = yield from score(Score(tuple(prompt(question, _steps(run, child.path())) for child in scored)))
        for child, prior in zip(scored, scores, strict=True):
            child.stats.prior = prior
    for child in children:
        run.method.enter(child.stats)


def _grade(run: _Search, tree: Tree, children: Sequence[Node]) -> Asking[None]:
    """The verdict on each answer, and what it is worth. One that cannot be told leaves it neither right nor wrong."""
    answers = [child for child in children if child.stats.status == "answer"]
    if run.graded and answers:
        verdicts = yield from grade(Grade(tuple(child.answer or "" for child in answers)))
        for child, verdict in zip(answers, verdicts, strict=True):
            child.correct = verdict
            tree.solved |= verdict is True
            tree.untold += verdict is None
    for child in answers:
        if child.correct is not None or not run.graded:
            child.reward = run.method.reward(child.correct, child.stats.prior)


def _view(run: _Search, tree: Tree, path: Sequence[Node], seeds: _Seeds) -> View:
    drafts = tuple([step.draft for step in path])
    return View(run.problem.question, drafts, tuple(_steps(run, path)), _standing(run, tree), seeds)


def _steps(run: _Search, path: Sequence[Node]) -> list[str]:
    """The texts of a path, one a step; a node that holds several gives each."""
    split = run.method.format.split
    texts: list[str] = []
    for node in path:
        draft = node.draft
        texts += (draft.text,) if draft.steps == 1 else split(draft.text)
    return texts


def _ran(run: _Search, path: Sequence[Node]) -> tuple[str, ...]:
    """The sources that ran on a path; failed steps left no trace in the interpreter."""
    steps = [step.draft.program or "" for step in path if step.ran]
    return (run.method.format.setup(run.problem.question), *steps)


def _standing(run: _Search, tree: Tree) -> Standing:
    solved = tree.solved if run.graded else None
    exhausted = tree.root.stats.status == "exhausted"
    ahead = 0 if run.graded else lead(node.answer for node in tree.answers())
    return Standing(tree.problem_id, tree.rollouts, tree.tokens, tree.root.samples, exhausted, solved, ahead)
