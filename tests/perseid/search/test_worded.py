"""Searches of models told in words: programs in steps, run in the sandbox, and texts of which nothing is run."""

from collections.abc import Iterator
from typing import Any

import pytest

from models.engines.scripted import Choices, ScriptedEngine
from perseid.engine import END, Completion
from perseid.formats import Format, chain, code_steps, format_of
from perseid.graders import Judge
from perseid.methods import flat, rstar_math
from perseid.methods.flat import Flat
from perseid.methods.rstar_math import RStarMath
from perseid.problems.problem import Gold, Problem
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Services, Tree, run_searches

PROBLEM = Problem("p", "words", "number", "Tom has 14 marbles and gives 5 away. How many are left?")
CODE, WORDS = format_of(code_steps.Settings()), format_of(chain.Settings())
TREE = rstar_math.Settings(candidates=3, rollouts=4, max_depth=3)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[AsyncSandbox]:
    with Sandbox(workers=1) as box:
        yield AsyncSandbox(box)


def searched(sandbox: Any, method: Any, options: Any, *, graded: bool = True) -> Tree:
    judge = Judge([PROBLEM], [Gold("p", "9")]) if graded else None
    [tree] = run_searches([PROBLEM], method, 0, Services(ScriptedEngine(Choices(options)), None, sandbox, judge))
    return tree


def code(prompt: str) -> list[tuple[str, str]]:
    written = prompt.split("Answer:\n")[-1]
    if not written:
        return [("# marbles\na = 14", "\n#"), ("```python\n# marbles\na = 15", "\n#"), ("# marbles\na = ", "")]
    return [("# left\nb = a - 5\nprint(b)", "\n\n"), ("# more\nprint(a + 5)\nAnna has", END), ("# lost\nb = c", "\n#")]


def test_a_tree_of_code_steps_runs_each_step_and_finds_what_was_printed(sandbox: Any) -> None:
    tree = searched(sandbox, RStarMath(TREE, CODE), code)
    found = {(node.text, node.answer, node.correct) for node in tree.answers()}
    assert (f"# left\nb = a - 5\nprint(b){END}", "9", True) in found
    assert (f"# more\nprint(a + 5){END}", "19", False) in found
    assert {node.text for node in tree.root.children} >= {"# marbles\na = 14\n"}
    assert {node.outcome.status for node in tree.nodes[1:] if node.outcome} == {"ok", "error"}
    assert tree.cut > 0


def words(prompt: str) -> list[tuple[str, str]]:
    lines = prompt.split("Answer:\n")[-1].count("\n")
    options = [("Tom gives 5 away.", "\n"), ("14 - 5 = 9", "\n"), ("The answer is 9.", "\n"), ("14 + 5 = 19.", END)]
    return options[: 2 + lines] if lines else options[:2]


def test_a_tree_of_texts_finds_its_answers_in_the_whole_response_and_runs_nothing() -> None:
    tree = searched(Idle(), RStarMath(TREE, WORDS), words)
    assert tree.executions == 0
    assert {node.answer for node in tree.answers()} <= {"9", "19"}
    assert tree.solved


class Idle:
    version = "none"

    async def extend_many(self, pairs: Any) -> Any:
        raise AssertionError("nothing is to be run")


def whole(format: Format, *completions: Completion, graded: bool = True, sandbox: Any = None) -> Tree:
    drawn = iter(completions)
    method = Flat(flat.Settings(samples=len(completions)), format)
    judge = Judge([PROBLEM], [Gold("p", "9")]) if graded else None
    engine = ScriptedEngine(lambda prompt, seed: next(drawn))
    [tree] = run_searches([PROBLEM], method, 0, Services(engine, None, sandbox or Idle(), judge))
    return tree


def test_whole_responses_are_answered_cut_or_without_an_answer(sandbox: Any) -> None:
    tree = whole(
        CODE,
        Completion("a = 14\nprint(a - 5)", "\n\n", 9),
        Completion("a = 14\nprint(a", "", 9),
        Completion("a = 14", END, 9),
        sandbox=sandbox,
    )
    assert [(node.answer, node.correct, node.draft.cut) for node in tree.root.children] == [
        ("9", True, False),
        (None, None, True),
        (None, None, False),
    ]
    told = whole(
        WORDS,
        Completion("So 14 - 5 = 9.", END, 9),
        Completion(r"\boxed{9} because", "", 9),
        Completion("Tom has 14", "", 9),
        Completion("Nothing to say.", END, 9),
    )
    assert [(node.answer, node.correct, node.draft.cut) for node in told.root.children] == [
        ("9", True, False),
        ("9", True, True),
        (None, None, True),
        (None, None, False),
    ]
    assert (told.cut, told.samples) == (2, 4)


def test_worked_examples_are_shown_where_the_method_says_so() -> None:
    seen = []

    def rule(prompt: str, seed: int) -> Completion:
        seen.append(prompt.count("Question:"))
        return Completion("The answer is 9.", END, 3)

    for shots in (False, True):
        method = Flat(flat.Settings(samples=1), WORDS, shots)
        run_searches([PROBLEM], method, 0, Services(ScriptedEngine(rule), None, Idle(), None))
    assert seen == [1, 5]
