"""Search of one problem as a pure generator: it yields requests, is sent their answers, and returns a tree.

One rollout (rStar-Math, arXiv 2501.04519, section 3.2) walks from the root along the selected child; every node that
has no children yet is expanded, and the answers among its children are backed up, until nothing is left to select:
there is no separate simulation. It holds no engine, no clock and no global state, so any driver can run it and a
journal can replay it. Assumes that the answers sent are those of the request last yielded; knows whether answers are
graded, never what the right ones are. An answer of which the grader cannot tell whether it is right is counted
(`Tree.untold`) and worth nothing: it is no reward, it is not backed up, and search goes on as if it were not there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from perseid.endings import Ended
from perseid.experiment import Search as Settings
from perseid.formats import Step
from perseid.problems.problem import Problem
from perseid.search.method import Method, Rated, Standing
from perseid.search.requests import (
    Asking,
    Execute,
    Grade,
    Outcome,
    Propose,
    Score,
    derived_seeds,
    execute,
    grade,
    propose,
    score,
)
from perseid.search.tree import Node, Tree, close, reopen

VERSION = "3"  # part of the journal's key: raise it when the same answers would give another tree


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


def search(problem: Problem, method: Method, settings: Settings, seed: int, graded: bool = True) -> Asking[Tree]:
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
    return method.pick([Rated(node.answer or "", node.stats.q) for node in tree.answers()])


def _rollout(run: _Search, tree: Tree) -> Asking[None]:
    """Select, expand, back up, from the root to where nothing is left to select.

    In a tree that was exhausted every node on the way is sampled again.
    """
    node, again = tree.root, tree.root.stats.status == "exhausted"
    while True:
        if again or not node.children:
            children = yield from _expand(run, tree, node)
            yield from _score(run, children)
            yield from _grade(run, tree, children)
            _back_up(run, children)
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


def _expand(run: _Search, tree: Tree, node: Node) -> Asking[list[Node]]:
    """Sample steps and run them: the new children of `node`, their status known."""
    _within_limits(run.settings, tree)
    steps = yield from _propose(run, tree, node)
    children = _add(run, tree, node, steps)
    yield from _execute(run, tree, node, [child for child in children if child.stats.status == "open"])
    if any(child.stats.status == "open" for child in children):
        reopen(node)
    return children


def _within_limits(settings: Settings, tree: Tree) -> None:
    if settings.limit_tokens and tree.tokens >= settings.limit_tokens:
        raise Stop("tokens")
    if settings.limit_nodes and len(tree.nodes) > settings.limit_nodes:
        raise Stop("nodes")


def _propose(run: _Search, tree: Tree, node: Node) -> Asking[list[Step]]:
    width = run.method.width(_standing(run, tree), run.settings)
    numbers = range(node.samples, node.samples + width)
    seeds = derived_seeds(run.seed, tree.problem_id, node.node_id, numbers)
    prompt = run.method.format.prompt(run.problem.question, _steps(run, node))
    sampling = run.method.sampling(run.settings)
    completions = yield from propose(Propose(prompt, seeds, sampling, tree.rollouts))
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
    known = [Step(c.text, c.code, c.ends, c.tokens, c.parsed, c.steps) for c in node.children]
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


def _execute(run: _Search, tree: Tree, node: Node, children: Sequence[Node]) -> Asking[None]:
    """Run each distinct code once; decide each child's status by the execution's."""
    by_code: dict[str, list[Node]] = {}
    for child in children:
        by_code.setdefault(child.code, []).append(child)
    if not by_code:
        return
    tree.executions += len(by_code)
    keep = tuple(next((c.node_id for c in same if not c.ends), "") for same in by_code.values())
    outcomes = yield from execute(Execute(node.node_id, _ran(run, node), tuple(by_code), keep))
    for outcome, same in zip(outcomes, by_code.values(), strict=True):
        for child in same:
            _judge(run, child, outcome)


def _judge(run: _Search, child: Node, outcome: Outcome) -> None:
    """Only a step that ran counts; failures in a row close a node once they reach the threshold."""
    child.execution, child.tier, child.stdout, child.error = outcome.status, outcome.tier, outcome.stdout, outcome.error
    child.failures = 0 if outcome.status == "ok" else child.failures + 1
    if outcome.status != "ok":
        if child.ends or child.failures >= run.settings.errors_threshold:
            child.stats.status = "error"
    elif child.ends:
        child.answer = run.method.format.answer(child.text, outcome.stdout)
        child.stats.status = "unparsable" if child.answer is None else "answer"


def _score(run: _Search, children: Sequence[Node]) -> Asking[None]:
    """The PPM's score of open children and answers, where there is a PPM; then the value each child starts with."""
    scored = [child for child in children if child.stats.status in ("open", "answer")] if run.settings.ppm else []
    if scored:
        prefixes = tuple(run.method.format.prompt(run.problem.question, _steps(run, child)) for child in scored)
        scores = yield from score(Score(prefixes))
        for child, prior in zip(scored, scores, strict=True):
            child.stats.prior = prior
    for child in children:
        run.method.enter(child.stats)


def _grade(run: _Search, tree: Tree, children: Sequence[Node]) -> Asking[None]:
    """The verdict on each answer. One that cannot be told leaves it neither right nor wrong."""
    answers = [child for child in children if child.stats.status == "answer"]
    if not run.graded or not answers:
        return
    verdicts = yield from grade(Grade(tuple(child.answer or "" for child in answers)))
    for child, verdict in zip(answers, verdicts, strict=True):
        child.correct = verdict
        tree.solved |= verdict is True
        tree.untold += verdict is None


def _back_up(run: _Search, children: Sequence[Node]) -> None:
    """Every answer's reward, along its path to the root. What cannot be told is worth nothing to anybody."""
    for child in children:
        if child.stats.status == "answer" and (child.correct is not None or not run.graded):
            reward = run.method.reward(child.correct, child.stats.prior)
            run.method.back_up([above.stats for above in child.lineage()], reward)


def _steps(run: _Search, node: Node) -> list[str]:
    """The steps that lead to `node`; a node that holds several gives each."""
    split = run.method.format.split
    return [text for node in node.path() for text in ((node.text,) if node.steps == 1 else split(node.text))]


def _ran(run: _Search, node: Node) -> tuple[str, ...]:
    """The sources that ran before the children of `node`; failed steps left no trace in the interpreter."""
    return (
        run.method.format.setup(run.problem.question),
        *(step.code for step in node.path() if step.execution == "ok"),
    )


def _standing(run: _Search, tree: Tree) -> Standing:
    solved = tree.solved if run.graded else None
    exhausted = tree.root.stats.status == "exhausted"
    lead = 0 if run.graded else _lead(tree)
    return Standing(tree.problem_id, tree.rollouts, tree.tokens, tree.root.samples, exhausted, solved, lead)


def _lead(tree: Tree) -> int:
    votes = Counter(node.answer for node in tree.answers()).most_common(2)
    return (votes[0][1] if votes else 0) - (votes[1][1] if len(votes) > 1 else 0)
