"""Answers made without gold, graded afterwards; each by hand."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import polars as pl
import pytest

from perseid import tables
from perseid.engine import Completion, Generate
from perseid.evaluation.answers import Examiner, against_sampling, greedy, in_order, sample, soundness
from perseid.experiment import Evaluation
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP
from perseid.graders import Judge
from perseid.problems import Gold, Problem
from perseid.problems.sources.tools import Settings
from perseid.problems.sources.tools.drawing import Tools
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox

SETTINGS = Evaluation(samples=2, max_tokens=64, mcts_problems=1, mcts_rollouts=1, mcts_candidates=2, fresh_instances=3)
RIGHT = f"# read the numbers\na = numbers(q){END_OF_STEP}# take lcm\nb = lcm(a){END_OF_STEP}# answer\nprint(b)"
LUCKY = f"# read the numbers\na = numbers(q){END_OF_STEP}# take prod\nb = prod(a){END_OF_STEP}# answer\nprint(b)"
QUESTIONS = {"lcm-1": "LCM of 4, 6", "lcm-2": "LCM of 5, 7"}
PROBLEMS = [Problem(name, "tools", "number", text) for name, text in QUESTIONS.items()]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(prelude=toolbox_source()) as box:
        yield box


@pytest.fixture
def by(sandbox: Sandbox) -> Examiner:
    return Examiner(
        TOOLS,
        SETTINGS,
        0,
        AsyncSandbox(sandbox),
        Judge(PROBLEMS, [Gold("lcm-1", "12"), Gold("lcm-2", "35")]),
    )


class Writer:
    """A policy that goes on with `text`, a step or all of it, as it is asked."""

    weights = "written"
    concurrency = 0

    def __init__(self, text: str) -> None:
        self.text = text

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        return [self.continued(request) for request in requests]

    def continued(self, request: Generate) -> Completion:
        rest = self.text[len(request.prompt.text.split("<|steps|>")[1]) :]
        whole = request.sampling.stop == (END_OF_ANSWER,)
        step, more, _ = (rest, "", "") if whole else rest.partition(END_OF_STEP)
        return Completion(step, END_OF_STEP if more else END_OF_ANSWER, 5)


def test_a_greedy_answer_is_what_the_program_printed(by: Examiner) -> None:
    rows = greedy(PROBLEMS, Writer(LUCKY), "control", by)
    assert rows.rows() == [
        ("lcm-1", "control", "greedy", 0, "answer", "24", False, 5, None),
        ("lcm-2", "control", "greedy", 0, "answer", "35", True, 5, None),
    ]


class Narrow(Writer):
    """A policy whose engine refuses questions of over `context` characters, and every `every`-th sample."""

    def __init__(self, text: str, context: int = 10**9, every: int = 10**9) -> None:
        super().__init__(text)
        self.context, self.every, self.asked = context, every, 0

    def continued(self, request: Generate) -> Completion:
        self.asked += 1
        if len(request.prompt.text) > self.context or self.asked % self.every == 0:
            return Completion("", "", 0, "longer than the context")
        return super().continued(request)


def shorter_than(question: str) -> int:
    return len(TOOLS.prompt(question).text) - 1


def test_a_question_that_the_engine_refuses_has_its_rows_and_is_not_right(by: Examiner) -> None:
    long = replace(PROBLEMS[0], problem_id="lcm-3", question=f"{PROBLEMS[0].question}, 12")
    by = replace(by, settings=SETTINGS.model_copy(update={"mcts_problems": 3}))
    engine = Narrow(RIGHT, shorter_than(long.question))
    problems = [*PROBLEMS, long]
    rows = in_order(
        greedy(problems, engine, "policy", by),
        sample(problems, engine, None, by),
        against_sampling(problems, engine, None, by),
    )
    assert tables.validate("evaluations", rows).equals(rows)
    refused = ("refused", None, False, 0)
    counted = rows.filter(pl.col("problem_id") == "lcm-3")
    assert counted.select("decoding", "sample", "status", "answer", "correct", "tokens").rows() == [
        ("greedy", 0, *refused),
        ("matched", 0, *refused),
        ("mcts", 0, *refused),
        ("sampled", 0, *refused),
        ("sampled", 1, *refused),
    ]
    asked = rows.group_by("decoding").agg(pl.col("problem_id").n_unique()).rows()
    assert dict(asked) == dict.fromkeys(("greedy", "sampled", "mcts", "matched"), 3)


def test_a_sample_that_the_engine_refuses_is_one_of_the_k(by: Examiner) -> None:
    rows = sample(PROBLEMS, Narrow(RIGHT, every=2), None, by)
    assert rows.select("problem_id", "sample", "status", "correct").rows() == [
        ("lcm-1", 0, "answer", True),
        ("lcm-1", 1, "refused", False),
        ("lcm-2", 0, "answer", True),
        ("lcm-2", 1, "refused", False),
    ]


@pytest.mark.parametrize("text", ["print(", "a = 1", RIGHT.replace("print(b)", "print()"), "raise ValueError"])
def test_a_program_without_an_answer_is_not_right_and_not_refused(by: Examiner, text: str) -> None:
    rows = greedy(PROBLEMS, Writer(text), "policy", by)
    assert rows.select("status", "answer", "correct").rows() == [("no_answer", None, False)] * 2


class Short(Writer):
    """A policy whose answers the length limit ends."""

    def continued(self, request: Generate) -> Completion:
        return super().continued(request)._replace(stop="")


def test_an_answer_that_is_cut_by_its_length_is_told_from_none(by: Examiner) -> None:
    rows = greedy(PROBLEMS, Short(RIGHT), "policy", by)
    assert rows.select("status", "answer", "correct").rows() == [("cut", None, False)] * 2


def test_an_answer_that_cannot_be_told_is_neither_right_nor_wrong(by: Examiner) -> None:
    judge = Judge(PROBLEMS, [Gold("lcm-1", "twelve"), Gold("lcm-2", "35")])
    rows = greedy(PROBLEMS, Writer(RIGHT), "policy", replace(by, judge=judge))
    assert rows.select("problem_id", "status", "answer", "correct").rows() == [
        ("lcm-1", "answer", "12", None),
        ("lcm-2", "answer", "35", True),
    ]
    assert tables.validate("evaluations", rows).equals(rows)


def test_each_problem_is_sampled_k_times(by: Examiner) -> None:
    rows = sample(PROBLEMS, Writer(RIGHT), None, by)
    assert rows.select("problem_id", "sample", "answer", "correct").rows() == [
        ("lcm-1", 0, "12", True),
        ("lcm-1", 1, "12", True),
        ("lcm-2", 0, "35", True),
        ("lcm-2", 1, "35", True),
    ]


def test_search_and_sampling_are_compared_at_equal_tokens(by: Examiner) -> None:
    rows = against_sampling(PROBLEMS, Writer(RIGHT), None, by)
    tokens = dict(rows.group_by("decoding").agg(pl.col("tokens").sum()).iter_rows())
    assert rows["problem_id"].unique().to_list() == ["lcm-1"]
    assert tokens == {"mcts": 30, "matched": 30}


def test_a_verified_program_that_was_right_by_chance_is_found_out(sandbox: Sandbox) -> None:
    verified = pl.DataFrame(
        {
            "trajectory_id": ["a" * 16, "b" * 16],
            "problem_id": ["lcm-2", "lcm-2"],
            "response": [RIGHT + END_OF_ANSWER, LUCKY + END_OF_ANSWER],
        }
    )
    tools = Tools(Settings(demonstrated=(), undemonstrated=("lcm",)), seed=0)
    facets = {"family": "lcm", "wording": "2"}
    asked = frozenset(QUESTIONS.values())
    found = soundness(verified, PROBLEMS, lambda p: tools.fresh(p, facets, 3, asked), TOOLS, sandbox)
    assert found.rows() == [("a" * 16, 3, 3, 0), ("b" * 16, 3, 0, 0)]


def test_a_program_for_what_nobody_can_ask_anew_is_not_in_the_table(sandbox: Sandbox) -> None:
    verified = pl.DataFrame({"trajectory_id": ["a" * 16], "problem_id": ["lcm-2"], "response": [RIGHT + END_OF_ANSWER]})
    found = soundness(verified, PROBLEMS, lambda problem: [], TOOLS, sandbox)
    assert found.equals(tables.frame("soundness", []))
