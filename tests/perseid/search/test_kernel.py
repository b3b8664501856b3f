"""The kernel is sent scripted answers; the trees in tests/golden were worked by hand."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from perseid.engine import Completion, Prompt
from perseid.formats import TOOLS, Draft
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP
from perseid.methods import flat
from perseid.methods.flat import Flat
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems.problem import Problem
from perseid.search import Tree, picked, run_searches, search
from perseid.search.method import Method, Standing
from perseid.search.requests import Execute, Grade, Outcome, Propose, Request, Score, derived_seeds

PROBLEM = Problem("p", "toy", "number", "which?")
STOPS = {"step": END_OF_STEP, "answer": END_OF_ANSWER, "": ""}


class Script:
    """Answers requests from the tables of a case; `asked` keeps the requests."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.asked = case, list[Request]()
        self.drawn: dict[str, int] = defaultdict(int)

    def answer(self, request: Request) -> list[Any]:
        self.asked.append(request)
        match request:
            case Propose(prompt, seeds):
                key = _codes(prompt)
                start = self.drawn[key]
                self.drawn[key] += len(seeds)
                samples = self.case["proposals"][key][start : self.drawn[key]]
                return [_completion(text, stop) for text, stop in samples]
            case Execute(_, _, codes):
                return [Outcome(*self.case["executions"][code], "", "fast") for code in codes]
            case Score(prefixes):
                return [self.case["scores"][_codes(prefix)] for prefix in prefixes]
            case Grade(answers):
                untold = self.case.get("untold", [])
                return [None if answer in untold else answer == self.case["gold"] for answer in answers]


def _completion(text: str, stop: str) -> Completion:
    return Completion("", "", 0, "too long") if stop == "refused" else Completion(text, STOPS[stop], 1)


def _codes(prompt: Prompt) -> str:
    response = prompt.text.split("<|steps|>")[1]
    return response.replace(END_OF_ANSWER, END_OF_STEP).replace(END_OF_STEP, "; ").removesuffix("; ")


def play(case: dict[str, Any], script: Script | None = None, kind: Callable[..., Method] = RStarMath) -> Tree:
    script = script or Script(case)
    asking = search(PROBLEM, kind(Settings(**case["settings"]), TOOLS), 0, graded=case["gold"] is not None)
    answers = None
    try:
        while True:
            answers = script.answer(asking.send(answers))
    except StopIteration as end:
        tree: Tree = end.value
        return tree


def rows(tree: Tree) -> list[list[Any]]:
    return [
        [n.node_id, n.stats.status, n.stats.visits, pytest.approx(n.stats.value_sum), n.answer, n.correct]
        for n in tree.nodes
    ]


@pytest.mark.parametrize("name", ["terminal_guided_parity", "ppm_augmented", "widening", "inference"])
def test_a_search_grows_the_tree_that_was_worked_by_hand(golden: Path, name: str) -> None:
    case = json.loads((golden / f"{name}.json").read_text())
    tree = play(case)
    assert case["nodes"] == rows(tree)
    assert (tree.rollouts, tree.tokens, tree.difficulty) == (case["rollouts"], case["tokens"], case["difficulty"])
    assert picked(tree, RStarMath(Settings(), TOOLS)) == case["picked"]


def chain(**changes: Any) -> dict[str, Any]:
    """One sample a level: a step that fails, one that runs, an answer."""
    return {
        "settings": {"candidates": 1, "rollouts": 1, "max_depth": 4, **changes},
        "gold": "1",
        "proposals": {
            "": [["bad", "step"]],
            "bad": [["a = 1", "step"]],
            "bad; a = 1": [["print(a)", "answer"]],
        },
        "executions": {"bad": ["error", ""], "a = 1": ["ok", ""], "print(a)": ["ok", "1\n"]},
    }


def test_a_failed_step_closes_its_node_at_the_threshold_and_leaves_no_trace_below_it() -> None:
    assert [node.stats.status for node in play(chain()).nodes] == ["exhausted", "error"]
    case = chain(errors_threshold=2)
    script = Script(case)
    assert [node.stats.status for node in play(case, script).nodes] == ["exhausted", "exhausted", "exhausted", "answer"]
    prefixes = [request.prefix for request in script.asked if isinstance(request, Execute)]
    assert prefixes == [("q = 'which?'",), ("q = 'which?'",), ("q = 'which?'", "a = 1")]


def test_a_step_that_runs_ends_the_row_of_failures() -> None:
    case = chain(errors_threshold=2)
    case["proposals"] |= {"bad; a = 1": [["bad", "step"]], "bad; a = 1; bad": [["print(a)", "answer"]]}
    tree = play(case)
    assert [node.failures for node in tree.nodes] == [0, 1, 0, 1, 0]
    assert tree.solved


def test_failures_are_counted_in_a_row() -> None:
    case = chain(errors_threshold=2)
    case["executions"]["a = 1"] = ["timeout", ""]
    tree = play(case)
    assert [(node.stats.status, node.failures) for node in tree.nodes] == [
        ("exhausted", 0),
        ("exhausted", 1),
        ("error", 2),
    ]


def test_a_step_beyond_the_depth_limit_is_never_run() -> None:
    case = chain(errors_threshold=2, max_depth=2)
    script = Script(case)
    tree = play(case, script)
    assert [(node.depth, node.stats.status) for node in tree.nodes][2:] == [(2, "exhausted"), (3, "too_deep")]
    assert sum(isinstance(request, Execute) for request in script.asked) == 2


def test_equal_codes_are_run_once() -> None:
    case = {
        "settings": {"candidates": 2, "rollouts": 1, "unvisited": "zero", "tie": "first"},
        "gold": "1",
        "proposals": {"": [["a = 1", "step"], ["a = 1\n", "step"]], "a = 1": [["print(a)", "answer"]] * 2},
        "executions": {"a = 1": ["ok", ""], "print(a)": ["ok", "1\n"]},
    }
    script = Script(case)
    assert len(play(case, script).root.children) == 2
    assert next(request.codes for request in script.asked if isinstance(request, Execute)) == ("a = 1",)


def test_seeds_follow_from_the_node_and_the_sample_alone() -> None:
    case = json.loads((Path(__file__).parents[2] / "golden" / "widening.json").read_text())
    script = Script(case)
    play(case, script)
    seeds = [request.seeds for request in script.asked if isinstance(request, Propose)]
    assert seeds[0] == derived_seeds(0, "p", "0", [0, 1])
    assert seeds[2] == derived_seeds(0, "p", "0", [2, 3])
    assert len({seed for some in seeds for seed in some}) == sum(map(len, seeds))
    # the first 16 hex digits of sha256("0\0p\0" "0\0" "0")
    assert derived_seeds(0, "p", "0", [0]) == (10879769727372590328,)


@pytest.mark.parametrize("ppm", [False, True])
def test_what_is_backed_up_is_conserved(toy: Any, ppm: bool) -> None:
    settings = Settings(candidates=4, rollouts=12, rollouts_unsolved=6, max_depth=4, ppm=ppm)
    for tree in run_searches(toy.problems(12), RStarMath(settings, TOOLS), 3, toy.services(12)):
        answers = tree.answers()
        assert tree.root.stats.visits == len(answers)
        assert tree.root.stats.value_sum == sum(1.0 if node.correct else -1.0 for node in answers)
        for node in tree.nodes[1:]:
            below = [answer for answer in answers if node in answer.lineage()]
            own = 1 if node.stats.status in ("error", "too_deep", "unparsable") or (ppm and node not in answers) else 0
            assert node.stats.visits == len(below) + own
            assert -1.0 <= node.stats.q <= 1.0
        assert all(node.stats.status != "open" or not node.children or tree.rollouts == 12 for node in tree.nodes)


def test_rejection_sampling_grows_one_level_of_whole_responses_within_its_budget(toy: Any) -> None:
    whole = "a = [int(w) for w in q.split()]<|end_of_step|>b = a[0] * a[1]<|end_of_step|>print(b)"
    engine = replace(
        toy.engine, rule=lambda prompt, seed: Completion(whole if seed % 2 else "print(q)", END_OF_ANSWER, 10)
    )
    method = Flat(flat.Settings(samples=4), TOOLS, budgets={"p000": 95, "p001": 40})
    trees = run_searches(toy.problems(2), method, 0, toy.services(2, engine=engine))
    assert [tree.tokens for tree in trees] == [100, 40]
    assert {node.depth for tree in trees for node in tree.nodes[1:]} == {1}
    assert {(node.correct, node.draft.steps) for tree in trees for node in tree.answers()} == {(True, 3), (False, 1)}


@pytest.mark.parametrize(("answers", "samples"), [("1111", 4), ("1121111", 5), ("12121212", 8)])
def test_a_vote_ends_once_the_samples_to_come_cannot_change_it(toy: Any, answers: str, samples: int) -> None:
    """Of six samples, one at a time: four equal answers lead by more than the two to come."""
    drawn = iter(answers)
    engine = replace(toy.engine, rule=lambda prompt, seed: Completion(f"print({next(drawn)})", END_OF_ANSWER, 3))
    method = Flat(flat.Settings(samples=6 if samples < 8 else 8, at_once=1), TOOLS)
    [tree] = run_searches(toy.problems(1), method, 0, toy.services(1, engine=engine, grader=None))
    assert (tree.samples, tree.ended) == (samples, "decided" if samples < 8 else "exhausted")
    assert picked(tree, method) == "1"


def several(**changes: Any) -> dict[str, Any]:
    """Three answers below one step: of one the grader cannot tell, one is right, one wrong."""
    return {
        "settings": {"candidates": 3, "rollouts": 1, "max_depth": 4, **changes},
        "gold": "1",
        "untold": ["?"],
        "proposals": {
            "": [["a = 1", "step"], ["a = 2", "step"], ["a = 1", "step"]],
            "a = 1": [["print(x)", "answer"], ["print(a)", "answer"], ["print(b)", "answer"]],
            "a = 2": [["print(x)", "answer"], ["print(x)", "answer"], ["print(x)", "answer"]],
        },
        "executions": {
            "a = 1": ["ok", ""],
            "a = 2": ["ok", ""],
            "print(x)": ["ok", "?\n"],
            "print(a)": ["ok", "1\n"],
            "print(b)": ["ok", "2\n"],
        },
    }


def test_an_answer_that_cannot_be_told_closes_its_node_and_is_worth_nothing_to_anybody() -> None:
    tree = play(several(tie="first"))
    assert rows(tree) == [
        ["0", "open", 2, 0.0, None, None],
        ["0.1", "exhausted", 2, 0.0, None, None],
        ["0.2", "open", 0, 0.0, None, None],
        ["0.1.1", "answer", 0, 0.0, "?", None],
        ["0.1.2", "answer", 1, 1.0, "1", True],
        ["0.1.3", "answer", 1, -1.0, "2", False],
    ]
    assert (tree.solved, tree.untold, tree.difficulty) == (True, 1, "medium")


def test_what_cannot_be_told_solves_nothing_and_the_search_goes_on() -> None:
    case = several(tie="first", rollouts_unsolved=1)
    case["proposals"]["a = 1"] = case["proposals"]["a = 2"]
    tree = play(case)
    assert [node.stats.status for node in tree.nodes] == [*["exhausted"] * 3, "answer", "answer"]
    assert [node.stats.visits for node in tree.nodes] == [0] * 5
    assert (tree.solved, tree.untold, tree.rollouts, tree.difficulty) == (False, 2, 2, "hard")


def test_a_prior_does_not_stand_in_for_a_verdict_that_cannot_be_told() -> None:
    case = several(tie="first", ppm=True)
    codes = ["a = 1", "a = 2", *[f"a = 1; print({name})" for name in "xab"]]
    case["scores"] = dict.fromkeys(codes, 0.5)
    told = {node.answer: (node.stats.visits, node.stats.value_sum, node.stats.prior) for node in play(case).answers()}
    assert told == {"?": (0, 0.0, 0.5), "1": (1, 1.0, 0.5), "2": (1, -1.0, 0.5)}


def shared() -> dict[str, Any]:
    """A step and an answer of one code, an answer, and below the step three times the same answer."""
    return {
        "settings": {"candidates": 4, "rollouts": 1, "ppm": True, "tie": "first", "temperature": 0.5, "top_p": 0.75},
        "gold": "1",
        "proposals": {
            "": [["a = 1", "answer"], ["a = 1", "step"], ["print(2)", "answer"], ["a = 1", "step"]],
            "a = 1": [["print(a)", "answer"]] * 4,
        },
        "executions": {"a = 1": ["ok", ""], "print(2)": ["ok", "2\n"], "print(a)": ["ok", "1\n"]},
        "scores": {"a = 1": 0.5, "print(2)": -0.5, "a = 1; print(a)": 0.25},
    }


def test_a_search_asks_this_and_nothing_else() -> None:
    """Of the two that share a code only the step is gone on from, so the interpreter is kept under its id alone."""
    case = shared()
    script = Script(case)
    tree = play(case, script)
    setup, start, sampling = (
        "q = 'which?'",
        Prompt.of("<|question|>which?<|steps|>"),
        Settings(**case["settings"]).sampling((END_OF_STEP, END_OF_ANSWER)),
    )
    step, other, last = f"a = 1{END_OF_STEP}", f"print(2){END_OF_ANSWER}", f"print(a){END_OF_ANSWER}"
    told = start.messages
    assert script.asked == [
        Propose(start, derived_seeds(0, "p", "0", range(4)), sampling, 1),
        Execute("0", (setup,), ("a = 1", "print(2)"), ("0.2", "")),
        Score((Prompt(told, (step,)), Prompt(told, (other,)))),
        Grade(("2",)),
        Propose(Prompt(told, (step,)), derived_seeds(0, "p", "0.2", range(4)), sampling, 1),
        Execute("0.2", (setup, "a = 1"), ("print(a)",), ("",)),
        Score((Prompt(told, (step, last)),)),
        Grade(("1",)),
    ]
    assert (tree.samples, tree.tokens, tree.merged, tree.refused, tree.executions) == (8, 8, 4, 0, 3)


@pytest.mark.parametrize("kind", [Execute, Score, Grade])
def test_fewer_answers_than_were_asked_for_are_an_error(kind: type[Request]) -> None:
    class Forgetful(Script):
        def answer(self, request: Request) -> list[Any]:
            answers = super().answer(request)
            return answers[:-1] if isinstance(request, kind) else answers

    with pytest.raises(ValueError, match="zip"):
        play(shared(), Forgetful(shared()))


@pytest.mark.parametrize(
    ("limit", "ended", "nodes"),
    [
        ({"limit_tokens": 3}, "tokens", 3),
        ({"limit_tokens": 4}, "done", 6),
        ({"limit_nodes": 2}, "nodes", 3),
        ({"limit_nodes": 3}, "done", 6),
    ],
)
def test_a_limit_that_is_reached_ends_the_search_before_its_next_expansion(
    limit: dict[str, int], ended: str, nodes: int
) -> None:
    """An expansion of three tokens and two nodes beside the root; then one of three answers."""
    tree = play(several(tie="first", **limit))
    assert (tree.ended, len(tree.nodes)) == (ended, nodes)


def test_a_node_that_the_engine_refuses_is_closed_and_the_search_goes_on_beside_it() -> None:
    case = chain(candidates=2, rollouts=2, tie="first")
    case["proposals"] = {
        "": [["a = 1", "step"], ["a = 2", "step"]],
        "a = 1": [["", "refused"], ["", "refused"]],
        "a = 2": [["print(a)", "answer"], ["", "refused"]],
    }
    case["executions"]["a = 2"] = ["ok", ""]
    tree = play(case)
    assert [node.stats.status for node in tree.nodes] == ["exhausted", "refused", "exhausted", "answer"]
    assert (tree.samples, tree.refused, tree.rollouts, tree.ended) == (3, 3, 2, "exhausted")


def test_a_question_that_the_engine_refuses_ends_its_search() -> None:
    tree = play({**chain(rollouts=3), "proposals": {"": [["", "refused"]]}})
    assert [node.stats.status for node in tree.nodes] == ["refused"]
    assert (tree.samples, tree.refused, tree.rollouts, tree.ended) == (0, 1, 1, "refused")


@dataclass(frozen=True)
class Told(RStarMath):
    """Keeps what the method is told of a search."""

    standings: list[Standing] = field(default_factory=list)
    known: list[list[Draft]] = field(default_factory=list)
    kept: list[Draft] = field(default_factory=list)

    def goes_on(self, now: Standing) -> bool:
        self.standings.append(now)
        return super().goes_on(now)

    def keep(self, made: Sequence[Draft], known: Sequence[Draft]) -> list[Draft]:
        self.known.append(list(known))
        self.kept.extend(kept := super().keep(made, known))
        return kept


def told(seen: Told) -> Callable[..., Told]:
    """Makes methods that tell `seen`."""
    return lambda settings, format: replace(seen, settings=settings)


def test_a_method_is_told_how_far_the_search_is_and_the_lead_only_where_nothing_is_graded() -> None:
    golden = Path(__file__).parents[2] / "golden"
    found = []
    for case in (json.loads((golden / "inference.json").read_text()), several(tie="first")):
        play(case, kind=told(seen := Told(Settings(), TOOLS)))
        found.append(seen.standings)
    assert found == [
        [
            Standing("p", 0, 0, 0, exhausted=False, solved=None, lead=0),
            Standing("p", 1, 4, 2, exhausted=False, solved=None, lead=1),
            Standing("p", 2, 6, 2, exhausted=True, solved=None, lead=0),
        ],
        [
            Standing("p", 0, 0, 0, exhausted=False, solved=False, lead=0),
            Standing("p", 1, 6, 3, exhausted=False, solved=True, lead=0),
        ],
    ]


def widened() -> dict[str, Any]:
    """No answer is right, so the exhausted root is sampled again; of its two new steps only one is gone into."""
    wrong = [["print(2)", "answer"]] * 2
    return {
        "settings": {"candidates": 2, "rollouts": 1, "rollouts_unsolved": 1, "max_depth": 4, "tie": "first"},
        "gold": "1",
        "proposals": {
            "": [["bad", "step"], wrong[0], ["a = 1", "step"], ["b = 1", "step"]],
            "a = 1": wrong,
            "b = 1": wrong,
        },
        "executions": {name: ["ok", ""] for name in ("a = 1", "b = 1")}
        | {"bad": ["error", ""], "print(2)": ["ok", "2\n"]},
    }


def test_an_exhausted_tree_that_gains_an_open_step_is_open_again() -> None:
    tree = play(widened())
    assert (tree.root.stats.status, tree.ended, tree.rollouts) == ("open", "done", 2)
    assert sorted(child.stats.status for child in tree.root.children) == ["answer", "error", "exhausted", "open"]


def test_a_method_is_shown_the_children_there_are_as_it_made_them() -> None:
    play(widened(), kind=told(seen := Told(Settings(), TOOLS)))
    assert seen.known == [[], seen.kept[:2], []]
