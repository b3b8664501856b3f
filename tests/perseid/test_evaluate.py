"""Evaluation: answers made without gold, measured afterwards; each number by hand."""

from collections.abc import Iterator, Sequence

import polars as pl
import pytest

from perseid import evaluate
from perseid.engine import Completion, Generate
from perseid.evaluate import EVALUATIONS, Evidence, Examiner, against_sampling, greedy, measure, sample, soundness
from perseid.experiment import Evaluation
from perseid.grading import Grader
from perseid.methods.rstar_math import END_OF_ANSWER, END_OF_STEP, METHOD
from perseid.problems import Gold, Problem, toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox

SETTINGS = Evaluation(samples=2, max_tokens=64, mcts_problems=1, mcts_rollouts=1, mcts_candidates=2, fresh_instances=3)
RIGHT = f"# read the numbers\na = numbers(q){END_OF_STEP}# take lcm\nb = lcm(a){END_OF_STEP}# answer\nprint(b)"
LUCKY = f"# read the numbers\na = numbers(q){END_OF_STEP}# take prod\nb = prod(a){END_OF_STEP}# answer\nprint(b)"
QUESTIONS = {"lcm-1": "LCM of 4, 6", "lcm-2": "LCM of 5, 7"}
PROBLEMS = [Problem(name, "held_out", 0, "lcm", "", "2", "seen", text) for name, text in QUESTIONS.items()]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(prelude=toolbox_source()) as box:
        yield box


@pytest.fixture
def by(sandbox: Sandbox) -> Examiner:
    return Examiner(
        METHOD,
        SETTINGS,
        0,
        AsyncSandbox(sandbox),
        Grader([Gold("lcm-1", "12", "number"), Gold("lcm-2", "35", "number")]),
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
        rest = self.text[len(request.prompt.split("<|steps|>")[1]) :]
        whole = request.sampling.stop == (END_OF_ANSWER,)
        step, more, _ = (rest, "", "") if whole else rest.partition(END_OF_STEP)
        return Completion(step, END_OF_STEP if more else END_OF_ANSWER, 5)


def test_a_greedy_answer_is_what_the_program_printed(by: Examiner) -> None:
    rows = greedy(PROBLEMS, Writer(LUCKY), "control", by)
    assert rows.rows() == [
        ("lcm-1", "control", "greedy", 0, "24", False, 5, None),
        ("lcm-2", "control", "greedy", 0, "35", True, 5, None),
    ]


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
    assert tokens == {"mcts": 30, evaluate.MCTS_TOKENS: 30}


def test_a_verified_program_that_was_right_by_chance_is_found_out(sandbox: Sandbox) -> None:
    verified = pl.DataFrame(
        {
            "trajectory_id": ["a" * 16, "b" * 16],
            "problem_id": ["lcm-2", "lcm-2"],
            "response": [RIGHT + END_OF_ANSWER, LUCKY + END_OF_ANSWER],
        }
    )
    found = soundness(verified, PROBLEMS, METHOD, sandbox, SETTINGS, seed=0)
    assert found.rows() == [("a" * 16, 3, 3), ("b" * 16, 3, 0)]


def answers(*rows: tuple[str, str, str, int, str | None, bool, float | None]) -> pl.DataFrame:
    filled = [(name, arm, way, number, answer, right, 10, ppm) for name, arm, way, number, answer, right, ppm in rows]
    return pl.DataFrame(filled, schema=EVALUATIONS, orient="row")


ASKED = pl.DataFrame({"problem_id": ["p1", "p2"], "part": ["seen", "new_wording"]})
ANSWERS = answers(
    ("p1", "policy", "greedy", 0, "1", True, None),
    ("p2", "policy", "greedy", 0, "2", True, None),
    ("p1", "control", "greedy", 0, "0", False, None),
    ("p2", "control", "greedy", 0, "2", True, None),
    ("p1", "policy", "sample", 0, "1", True, 0.9),
    ("p1", "policy", "sample", 1, "0", False, 0.1),
    ("p2", "policy", "sample", 0, "2", True, -0.5),
    ("p2", "policy", "sample", 1, "3", False, 0.5),
)


def measured(evidence: Evidence) -> dict[tuple[str, str, str], tuple[float, int]]:
    table = measure(ANSWERS, ASKED, SETTINGS, 0, evidence)
    return {(arm, metric, part): (value, n) for arm, metric, part, value, _, _, n in table.iter_rows()}


def test_every_metric_by_hand() -> None:
    before = answers(("p1", "policy", "greedy", 0, None, False, None), ("p2", "policy", "greedy", 0, "2", True, None))
    scores = pl.DataFrame(
        {"split": ["held_out"] * 2 + ["train"], "score_chosen": [1.0, 0, 0], "score_rejected": [0.0, 1, 1]}
    )
    sound = pl.DataFrame({"trajectory_id": ["a", "b", "c", "d"], "fresh": [3] * 4, "right": [3, 3, 2, 3]})
    found = measured(Evidence(before, scores, sound))
    whole = {(arm, metric): score for (arm, metric, part), score in found.items() if part == "all"}
    assert whole == {
        ("policy", "pass@1"): (1.0, 2),
        ("control", "pass@1"): (0.5, 2),
        ("policy", "delta_pass@1"): (0.5, 2),
        ("policy", "delta_control"): (0.5, 2),
        ("policy", "pass@2"): (1.0, 2),
        ("policy", "maj@2"): (0.5, 2),
        ("policy", "ppm_best@2"): (0.5, 2),
        ("policy", "tokens@greedy"): (10.0, 2),
        ("policy", "tokens@sample"): (20.0, 2),
        ("policy", "ppm_pair_accuracy"): (0.5, 2),
        ("policy", "verified_but_wrong"): (0.25, 4),
    }
    assert found["policy", "delta_control", "new_wording"] == (0.0, 1)
    assert found["control", "pass@1", "seen"] == (0.0, 1)


def test_what_was_not_measured_has_no_row() -> None:
    metrics = {metric for _, metric, _ in measured(Evidence())}
    assert not metrics & {"delta_pass@1", "ppm_pair_accuracy", "verified_but_wrong", "mcts"}
