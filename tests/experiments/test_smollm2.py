"""What the word problems of `smollm2` are split and read by."""

import json
import subprocess
import sys
from pathlib import Path

from experiments.smollm2.prepare import operation, prepared, stories

ROOT = Path(__file__).parents[2]
PEARS = [
    "Ann has 9 pears and eats 2 . How many pears has Ann ?",
    "Ann has 7 pears and buys 5 . How many pears has Ann ?",
]
TRAIN = "A train of 6 wagons carries 4 cows in every wagon . How many cows travel ?"


def test_variations_of_a_story_have_one_number() -> None:
    assert stories([PEARS[0], TRAIN, PEARS[1], "Which day follows Friday ?"]) == [0, 1, 0, 2]


def test_the_operation_is_the_first_of_two_numbers_that_gives_the_answer() -> None:
    found = [operation("3 of 12 and 4", answer) for answer in ("9", "15", "36", "4", "99", "0.25")]
    assert found == ["subtraction", "addition", "multiplication", "division", "other", "division"]


def test_rows_keep_their_order_and_answers_are_plain() -> None:
    rows = [{"problem": PEARS[0], "solution": 7.0}, {"problem": f"  {TRAIN}\n", "solution": "24"}]
    assert prepared(rows) == [
        {"question": PEARS[0], "answer": "7", "story": "000", "operation": "subtraction"},
        {"question": TRAIN, "answer": "24", "story": "001", "operation": "multiplication"},
    ]
    assert prepared([{"problem": "Half of 5 ?", "solution": 2.5}])[0]["answer"] == "2.5"


def test_the_command_writes_a_row_a_problem_and_counts_them(tmp_path: Path) -> None:
    source, out = tmp_path / "svamp.json", tmp_path / "data" / "svamp.jsonl"
    source.write_text(json.dumps([{"problem": question, "solution": 7.0} for question in [*PEARS, TRAIN]]))
    command = [sys.executable, "-m", "experiments.smollm2.prepare", str(source), str(out)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told == f"{out}: 3 problems of 2 stories; 2 other, 1 subtraction\n"
    assert [json.loads(line)["story"] for line in out.read_text().splitlines()] == ["000", "000", "001"]
