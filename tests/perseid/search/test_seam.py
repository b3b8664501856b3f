"""Another method on the kernel: two actions a node, a vote after a proposal, back-up where a walk lands; no programs.

Steps are words. `think` proposes a step; `guess` proposes an answer, and a critic votes on it: its share of votes is
the answer's prior and reward. Walks go on to the child visited least until they land on an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from models.engines.scripted import Choices, ScriptedEngine
from perseid.engine import Completion, EngineFailure, Generate, Prompt, Sampling
from perseid.formats import Draft
from perseid.formats.tools import Tools
from perseid.search import Services, Tree, run_searches, search
from perseid.search.actions import Continue
from perseid.search.journal import Journal
from perseid.search.method import Action, Leaf, Rated, Standing, View
from perseid.search.requests import Asking, Batch, Grade, Propose, asks_of, derived_seeds, grade, propose
from perseid.search.rows import tables
from perseid.search.settings import Limits
from perseid.search.tree import Stats
from tests.perseid.search.conftest import ANSWER, STEP, Late

STEPS, ANSWERS, VOTE = Sampling(stop=(STEP,)), Sampling(stop=(ANSWER,)), Sampling(max_tokens=1, stop=(ANSWER,))

SHALLOW, SHORT = Limits(depth=3), Limits(depth=3, tokens=12)


@dataclass(frozen=True)
class Words(Tools):
    """Nothing is run: the answer is the last word."""

    runs: bool = False

    def read(self, completion: Completion) -> Draft:
        draft = super().read(completion)
        return draft._replace(program=None, answer=completion.text.split()[-1] if draft.ends else None)


@dataclass(frozen=True)
class Guess:
    """An answer, and the share of a critic's votes for it."""

    format: Words
    name: str = "guess"

    def ask(self, at: View) -> Asking[list[Draft]]:
        [draft] = yield from Continue(self.format, ANSWERS, 1, name=self.name).ask(at)
        asked = Prompt.of(f"{at.question}: {draft.answer}?")
        votes = yield from propose(Propose(asked, at.seeds(3), VOTE, at.standing.rollouts, "critic"))
        return [draft._replace(prior=sum(vote.text == "yes" for vote in votes) / 3)]


@dataclass(frozen=True)
class Landing:
    """What this method is: its walks end at answers, and are backed up there."""

    format: Words = field(default_factory=Words)
    rollouts: int = 4
    guesses: int = 1
    key: str = "landing"
    roles: tuple[str, ...] = ("policy", "critic")
    limits: Limits = field(default=SHALLOW)
    closes_upwards: bool = False

    def goes_on(self, now: Standing) -> bool:
        return now.rollouts < self.rollouts

    def actions(self, at: View) -> Sequence[Action]:
        think = [Continue(self.format, STEPS, 1, name="think")] if len(at.drafts) < 2 else []
        return [*think, *(Guess(self.format, f"guess{number}") for number in range(self.guesses))]

    def keep(self, made: Sequence[Draft], known: Sequence[Draft]) -> list[Draft]:
        return list(made)

    def enter(self, new: Stats) -> None:
        pass

    def reward(self, correct: bool | None, prior: float | None) -> float:
        return prior or 0.0

    def next(self, parent: Stats, children: Sequence[Stats], grown: bool, draw: Callable[[int], int]) -> int | None:
        return min(range(len(children)), key=lambda index: children[index].visits)

    def grown(self, at: View, path: Sequence[Stats], new: Sequence[Leaf]) -> Asking[None]:
        yield from ()

    def landed(self, path: Sequence[Stats], leaf: Leaf) -> None:
        for stats in (leaf.stats, *path):
            stats.visits += 1
            stats.value_sum += leaf.reward or 0.0

    def pick(self, answers: Sequence[Rated]) -> str | None:
        return max(answers, key=lambda rated: rated.q).answer


def written(prompt: str) -> list[tuple[str, str]]:
    return [(f"so {number}", STEP if prompt.count(STEP) < 1 else ANSWER) for number in (1, 2, 3)]


POLICY = ScriptedEngine(Choices(written))
CRITIC = ScriptedEngine(Choices(lambda prompt: [("yes", ANSWER), ("no", ANSWER)]), weights="critic")
METHOD = Landing()


def services(toy: Any, engine: Any = POLICY, critic: Any = CRITIC) -> Services:
    ready: Services = toy.services(4, engine=engine, scorer=None)
    return replace(ready, others={"critic": critic})


def grown(trees: Sequence[Tree]) -> dict[str, Any]:
    return {name: frame.rows() for name, frame in tables(trees).items()}


def test_the_actions_of_an_expansion_ask_side_by_side_and_each_gets_its_own_answers(toy: Any) -> None:
    [problem] = toy.problems(1)
    asking = search(problem, Landing(rollouts=1, guesses=2), 5)
    first = next(asking)
    told = METHOD.format.prompt(problem.question)
    seeds = [derived_seeds(5, "p000", "0", [name]) for name in ("0", "guess0 0", "guess1 0")]
    asks = zip(seeds, (STEPS, ANSWERS, ANSWERS), strict=True)
    assert first == Batch(tuple(Propose(told, drawn, sampling, 1) for drawn, sampling in asks))
    answers = [[Completion("hm", STEP, 1)], [Completion("it is 7", ANSWER, 2)], [Completion("it is 8", ANSWER, 2)]]
    second = asking.send(answers)
    assert [(ask.prompt.text, ask.role) for ask in asks_of(second) if isinstance(ask, Propose)] == [
        ("2 5: 7?", "critic"),
        ("2 5: 8?", "critic"),
    ]
    yes, no = Completion("yes", ANSWER, 1), Completion("no", ANSWER, 1)
    third = asking.send([[yes, yes, no], [no, no, no]])
    assert third == Grade(("7", "8"))
    asking.send([True, False])


def test_a_walk_is_backed_up_where_it_lands_and_nowhere_else(toy: Any) -> None:
    for tree in run_searches(toy.problems(4), METHOD, 5, services(toy)):
        landed = sum(node.stats.visits for node in tree.nodes if node.stats.status == "answer")
        assert tree.root.stats.visits == landed == METHOD.rollouts
        for node in tree.nodes:
            if node.children:
                assert node.stats.visits == sum(child.stats.visits for child in node.children)
        values = [node.stats.value_sum for node in tree.nodes if node.stats.status == "answer"]
        assert tree.root.stats.value_sum == pytest.approx(sum(values))


def test_answers_are_found_in_texts_and_nothing_is_run(toy: Any) -> None:
    interpreter = toy.interpreter()
    trees = run_searches(toy.problems(4), METHOD, 5, replace(services(toy), sandbox=interpreter))
    assert {node.answer for tree in trees for node in tree.answers()} <= {"1", "2", "3"}
    assert (interpreter.ran, sum(tree.executions for tree in trees)) == (0, 0)
    assert all(node.draft.action in ("think", "guess0") for tree in trees for node in tree.nodes[1:])


@pytest.mark.parametrize("seed", [0, 1])
def test_trees_are_the_same_whoever_answers_first(toy: Any, seed: int) -> None:
    whole = grown(run_searches(toy.problems(4), METHOD, 5, services(toy)))
    late = services(toy, Late(POLICY, seed), Late(CRITIC, seed + 7, concurrency=2))
    assert grown(run_searches(toy.problems(4), METHOD, 5, late)) == whole
    mixed = services(toy, Late(POLICY, seed), CRITIC)
    assert grown(run_searches(toy.problems(4), METHOD, 5, mixed)) == whole


@dataclass
class Counting:
    """An engine that dies when `left` calls are answered, and keeps how many sequences each call asked for."""

    engine: Any
    left: int = 10**9
    calls: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights, self.concurrency = self.engine.weights, self.engine.concurrency

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        if len(self.calls) >= self.left:
            raise EngineFailure("the engine is gone")
        self.calls.append(len(requests))
        answers: list[Completion] = await self.engine.generate(requests)
        return answers


@pytest.mark.parametrize("late", [False, True])
def test_killed_at_any_request_it_replays_what_was_answered_and_ends_in_the_same_trees(
    toy: Any, tmp_path: Path, late: bool
) -> None:
    def engines(left: int) -> tuple[Counting, Counting]:
        policy, critic = (Late(POLICY, left), Late(CRITIC, left)) if late else (POLICY, CRITIC)
        return Counting(policy, left), Counting(critic, left)

    whole, asked = engines(10**9), toy.problems(3)
    trees = grown(run_searches(asked, METHOD, 5, services(toy, *whole)))
    sequences = sum(map(sum, (engine.calls for engine in whole)))
    for left in range(max(len(engine.calls) for engine in whole)):
        folder, dying, after = tmp_path / str(left), engines(left), engines(10**9)
        with pytest.raises(EngineFailure):
            run_searches(asked, METHOD, 5, services(toy, *dying), folder)
        assert grown(run_searches(asked, METHOD, 5, services(toy, *after), folder)) == trees
        again = sum(map(sum, (engine.calls for engine in (*dying, *after)))) - sequences
        assert 0 <= again <= (6 * len(asked) if late else 0)  # what was in flight
        silent = engines(0)
        assert grown(run_searches(asked, METHOD, 5, services(toy, *silent), folder)) == trees


def test_trees_share_batches_by_role(toy: Any) -> None:
    policy, critic = Counting(POLICY), Counting(CRITIC)
    run_searches(toy.problems(4), Landing(rollouts=1), 5, services(toy, policy, critic))
    assert (policy.calls[0], critic.calls[0]) == (8, 12)


def test_who_the_method_asks_must_be_there(toy: Any) -> None:
    with pytest.raises(ValueError, match="expected critic among the services"):
        run_searches(toy.problems(1), METHOD, 5, toy.services(1, scorer=None))


@dataclass(frozen=True)
class Curious(Landing):
    """Asks whether its answers are right."""

    def grown(self, at: View, path: Sequence[Stats], new: Sequence[Leaf]) -> Asking[None]:
        yield from grade(Grade(tuple(leaf.draft.answer or "" for leaf in new)))


def test_a_method_is_not_told_what_is_right(toy: Any) -> None:
    with pytest.raises(AssertionError, match="a method asks for proposals and scores, not Grade"):
        run_searches(toy.problems(1), Curious(), 5, services(toy))


@dataclass(frozen=True)
class Simulating(Landing):
    """Continues each new step once, to see where it leads; keeps nothing of it."""

    limits: Limits = field(default=SHORT)

    def grown(self, at: View, path: Sequence[Stats], new: Sequence[Leaf]) -> Asking[None]:
        for leaf in new:
            if not leaf.draft.ends:
                prompt = self.format.prompt(at.question, (*at.steps, leaf.draft.text))
                yield from propose(Propose(prompt, at.seeds(1), ANSWERS, at.standing.rollouts))


def test_a_simulation_is_counted_and_ended_by_the_same_limits(toy: Any) -> None:
    free = replace(Simulating(), limits=SHALLOW)
    plain, simulated = (run_searches(toy.problems(2), method, 5, services(toy)) for method in (METHOD, free))
    assert all(more.tokens > less.tokens for less, more in zip(plain, simulated, strict=True))
    limited = run_searches(toy.problems(2), Simulating(), 5, services(toy))
    assert [tree.ended for tree in limited] == ["tokens", "tokens"]
    assert all(12 <= tree.tokens < 12 + 9 for tree in limited)


def test_a_batch_of_one_tree_is_an_entry_a_request(toy: Any, tmp_path: Path) -> None:

    [problem] = toy.problems(1)
    run_searches([problem], Landing(rollouts=1), 5, services(toy), tmp_path)
    [path] = tmp_path.iterdir()
    with Journal(path, path.name) as journal:
        replay, kinds = journal.replay(0), list[Any]()
        while (entry := replay.next()) is not None:
            kinds.append((entry[0], entry[3]))
    assert kinds[:3] == [("P", 0), ("P", 1), ("P", 0)]
