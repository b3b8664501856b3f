"""Search of one problem as a pure generator: it yields requests, is sent their answers, and returns a tree.

One rollout (rStar-Math, section 3; spec, section 1.2) walks from the root along the selected child and expands every
node that has no children yet, until nothing is left to select: there is no separate simulation. It holds no engine,
no clock and no global state, so any driver can run it and a journal can replay it. Assumes that the answers sent are
those of the request last yielded; knows whether answers are graded, never what the right ones are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from perseid.engine import Completion
from perseid.experiment import Search as Settings
from perseid.problems.problem import Problem
from perseid.search.method import Method, Rated, Standing, Step
from perseid.search.requests import Execute, Grade, Outcome, Propose, Request, Score, derived_seeds
from perseid.search.tree import Ended, Node, Tree, close, path_q, reopen

VERSION = "2"  # part of the journal's key: raise it when the same answers would give another tree

Asking = Generator[Request, Any, None]


class Stop(Exception):
    """Thrown at a `Propose`, it ends the search with the tree as it is; `why` is recorded."""

    def __init__(self, why: Ended) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class _Search:
    """What stays the same during a search."""

    problem: Problem
    method: Method
    settings: Settings
    seed: int
    graded: bool


def search(
    problem: Problem, method: Method, settings: Settings, seed: int, graded: bool = True
) -> Generator[Request, Any, Tree]:
    """Rollouts until the method has enough or a limit is reached. Without grading (inference) the PPM rewards answers.

    A limit of tokens or nodes is looked at before each expansion, so a tree passes it by less than one expansion.
    """
    run, tree = _Search(problem, method, settings, seed, graded), Tree.of(problem.problem_id)
    try:
        while method.goes_on(standing := _standing(run, tree), settings):
            if method.decided(standing, settings):
                raise Stop("decided")
            tree.rollouts += 1
            yield from _rollout(run, tree)
        tree.ended = "exhausted" if tree.root.stats.status == "exhausted" else "done"
    except Stop as stop:
        tree.ended = stop.why
    return tree


def picked(tree: Tree, method: Method) -> str | None:
    """The answer of a finished search, without gold; None when there is none."""
    return method.pick([Rated(node.answer or "", node.stats.q, path_q(node)[0]) for node in tree.answers()])


def _rollout(run: _Search, tree: Tree) -> Asking:
    """Descend, expanding; in a tree that was exhausted every node on the way is sampled again."""
    node, again = tree.root, tree.root.stats.status == "exhausted"
    while True:
        if again or not node.children:
            yield from _expand(run, tree, node)
        child = _select(run, tree, node, again)
        if child is None:
            close(node, upwards=run.method.closes_upwards(run.settings))
            return
        node = child


def _select(run: _Search, tree: Tree, node: Node, again: bool) -> Node | None:
    """The best open child; when all nodes are sampled again, else the best exhausted one."""
    choice = [child for child in node.children if child.stats.status == "open"]
    if again and not choice:
        choice = [child for child in node.children if child.stats.status == "exhausted"]
    if not choice:
        return None

    def draw(n: int) -> int:
        return derived_seeds(run.seed, tree.problem_id, node.node_id, [f"tie {tree.rollouts}"])[0] % n

    return choice[run.method.select(node.stats, [child.stats for child in choice], run.settings, draw)]


def _expand(run: _Search, tree: Tree, node: Node) -> Asking:
    """Sample steps, run them, score and grade what ran, back up every answer found."""
    _within_limits(run.settings, tree)
    steps = yield from _propose(run, tree, node)
    children = _add(run, tree, node, steps)
    yield from _execute(run, tree, node, [child for child in children if child.stats.status == "open"])
    if run.settings.ppm:
        yield from _score(run, [child for child in children if child.stats.status in ("open", "answer")])
    for child in children:
        run.method.enter(child.stats)
    answers = [child for child in children if child.stats.status == "answer"]
    if run.graded and answers:
        yield from _grade(tree, answers)
    for child in answers:
        reward = run.method.reward(child.correct, child.stats.prior)
        run.method.back_up([above.stats for above in child.lineage()], reward)
    if any(child.stats.status == "open" for child in children):
        reopen(node)


def _within_limits(settings: Settings, tree: Tree) -> None:
    if settings.limit_tokens and tree.tokens >= settings.limit_tokens:
        raise Stop("tokens")
    if settings.limit_nodes and len(tree.nodes) > settings.limit_nodes:
        raise Stop("nodes")


def _propose(run: _Search, tree: Tree, node: Node) -> Generator[Request, Any, list[Step]]:
    width = run.method.width(_standing(run, tree), run.settings)
    numbers = range(node.samples, node.samples + width)
    seeds = derived_seeds(run.seed, tree.problem_id, node.node_id, numbers)
    prompt = run.method.prompt(run.problem.question, _response(node))
    completions: Sequence[Completion] = yield Propose(prompt, seeds, run.method.sampling(run.settings), tree.rollouts)
    taken = [completion for completion in completions if not completion.refusal]
    node.samples += width
    tree.samples += len(taken)
    tree.refused += width - len(taken)
    tree.tokens += sum(completion.num_tokens for completion in taken)
    if not taken:
        node.stats.status = "refused"
        if node is tree.root:
            raise Stop("refused")
    return [run.method.parse(completion) for completion in taken]


def _add(run: _Search, tree: Tree, node: Node, steps: Sequence[Step]) -> list[Node]:
    """The children that these samples make; those that need no execution are closed already."""
    known = [Step(child.text, child.code, child.ends, child.tokens, child.parsed) for child in node.children]
    children = []
    for step in run.method.keep(steps, known, run.settings):
        child = tree.add(node, step.text, step.code, step.tokens)
        child.ends, child.steps, child.parsed = step.ends, step.steps, step.parsed
        if not step.parsed:
            child.stats.status = "unparsable"
        elif child.depth > run.settings.max_depth:
            child.stats.status = "too_deep"
        children.append(child)
    tree.merged += len(steps) - len(children)
    return children


def _execute(run: _Search, tree: Tree, node: Node, children: Sequence[Node]) -> Asking:
    """Run each distinct code once; decide each child's status by the execution's."""
    by_code: dict[str, list[Node]] = {}
    for child in children:
        by_code.setdefault(child.code, []).append(child)
    if not by_code:
        return
    tree.executions += len(by_code)
    keep = tuple(next((c.node_id for c in same if not c.ends), "") for same in by_code.values())
    outcomes: Sequence[Outcome] = yield Execute(node.node_id, _ran(run, node), tuple(by_code), keep)
    for outcome, same in zip(outcomes, by_code.values(), strict=True):
        for child in same:
            _judge(child, outcome, run.settings.errors_threshold)


def _judge(child: Node, outcome: Outcome, errors_threshold: int) -> None:
    """Only a step that ran counts; failures in a row close a node once they reach the threshold."""
    child.execution, child.tier, child.stdout, child.error = outcome.status, outcome.tier, outcome.stdout, outcome.error
    child.failures = 0 if outcome.status == "ok" else child.failures + 1
    printed = outcome.stdout.strip()
    if outcome.status != "ok":
        if child.ends or child.failures >= errors_threshold:
            child.stats.status = "error"
    elif child.ends:
        child.answer, child.stats.status = (printed, "answer") if printed else (None, "unparsable")


def _score(run: _Search, children: Sequence[Node]) -> Asking:
    if children:
        prefixes = tuple(run.method.prompt(run.problem.question, _response(child)) for child in children)
        scores: Sequence[float] = yield Score(prefixes)
        for child, score in zip(children, scores, strict=True):
            child.stats.prior = score


def _grade(tree: Tree, children: Sequence[Node]) -> Asking:
    verdicts: Sequence[bool] = yield Grade(tuple(child.answer or "" for child in children))
    for child, verdict in zip(children, verdicts, strict=True):
        child.correct = verdict
        tree.solved |= verdict


def _response(node: Node) -> str:
    return "".join(step.text for step in node.path())


def _ran(run: _Search, node: Node) -> tuple[str, ...]:
    """The sources that ran before the children of `node`; failed steps left no trace in the interpreter."""
    return (run.method.setup(run.problem.question), *(step.code for step in node.path() if step.execution == "ok"))


def _standing(run: _Search, tree: Tree) -> Standing:
    solved = tree.solved if run.graded else None
    exhausted = tree.root.stats.status == "exhausted"
    lead = 0 if run.graded else _lead(tree)
    return Standing(tree.problem_id, tree.rollouts, tree.tokens, tree.root.samples, exhausted, solved, lead)


def _lead(tree: Tree) -> int:
    votes = Counter(node.answer for node in tree.answers()).most_common(2)
    return (votes[0][1] if votes else 0) - (votes[1][1] if len(votes) > 1 else 0)
