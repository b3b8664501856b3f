"""The guide to problems of one's own: what it shows is what happens."""

import json
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from perseid.experiment import load_experiment
from perseid.problems.making import Before, drawn, first
from perseid.problems.splits import normal

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guide/own-problems.md").read_text()
REST = "name: mine\nmodels: {policy: {base: pretrained, from: a/b}}\nrecipe: rejection\nrounds: [{}]\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the files that the guide shows, more rows of the first than it has room for."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("experiments", "data"):
        (root / folder).mkdir()
    for block in blocks("jsonl") + blocks("csv"):
        name, _, content = block.partition("\n")
        (root / name.removeprefix("# ")).write_text(content)
    sums = [{"id": n, "question": f"{n} + 7?", "answer": f"#### {n + 7}", "level": n % 4} for n in range(40)]
    with (root / "data/mine.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in sums[:30])
    (root / "data/test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in sums[30:]))
    parts = {"train": datasets.Dataset.from_list(sums[:30]), "test": datasets.Dataset.from_list(sums[30:])}
    datasets.DatasetDict(parts).save_to_disk(str(root / "data/saved"))
    return root


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_section_of_the_guide_makes_problems(project: Path, text: str) -> None:
    (project / "experiments/mine.yaml").write_text(REST + text)
    experiment = load_experiment(project / "experiments/mine.yaml")
    found = first(experiment.problems, 0, experiment.root)
    before = Before(
        held_out=frozenset(map(normal, found.held_out)), skipped=frozenset(one.row for one in found.skipped["train"])
    )
    pool = drawn(experiment.problems, 0, experiment.root, 1, before)
    assert found.held_out
    assert pool
    assert not {normal(item) for item in pool} & {normal(item) for item in found.held_out}


def test_the_question_of_several_columns_is_the_one_that_is_shown(project: Path) -> None:
    [text] = [text for text in blocks("yaml") if "template" in text]
    (project / "experiments/mine.yaml").write_text(REST + text)
    experiment = load_experiment(project / "experiments/mine.yaml")
    asked = {read.item.problem.question for read in experiment.problems.train[0].opened(0, project).read() if read.item}
    assert "Which is a prime?\nA) 9\nB) 11" in {question.strip() for question in asked}


def test_every_command_of_the_guide_runs(project: Path) -> None:
    (project / "experiments/mine.yaml").write_text(REST + blocks("yaml")[0])
    (project / "root").mkdir()
    commands = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        name, *words = re.findall(r'"[^"]*"|\S+', command)
        assert name == "perseid"
        words = [word.strip('"') for word in words]
        if words[0] == "plan":
            words[1] = str(project / "experiments/mine.yaml")
        done = subprocess.run(
            [sys.executable, "-m", "orchestration", *words, "--root", str(project / "root")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (command, done.stderr)


def test_every_source_there_is_stands_in_the_table() -> None:
    from perseid.problems.source import names

    told = re.findall(
        r"^\| `(\w+)` \|", GUIDE.split("## Where problems come from")[1].split("### Columns")[0], re.MULTILINE
    )
    assert sorted(told) == names()
