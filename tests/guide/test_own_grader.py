"""What the guide to graders shows is so: its file grades, its section loads, its commands print what stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from perseid.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guide" / "own-grader.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCK.findall(GUIDE) if name == language]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what the guide has one write, and problems."""
    [source] = blocks("python")
    path = tmp_path / source.partition("\n")[0].removeprefix("# ")
    path.parent.mkdir(parents=True)
    path.write_text(source)
    (tmp_path / "data").mkdir()
    rows = [f'{{"question": "About {n}?", "answer": "{n}"}}\n' for n in range(8)]
    (tmp_path / "data" / "mine.jsonl").write_text("".join(rows))
    return tmp_path


@pytest.mark.parametrize("session", blocks("console"))
def test_its_commands_print_what_stands_there(project: Path, session: str) -> None:
    command, expected = session.removeprefix("$ ").split("\n", 1)
    python, *arguments = shlex.split(command)
    assert python == "python"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = [sys.executable, *arguments]
    done = subprocess.run(run, cwd=project, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.returncode) == (expected, 0), done.stderr


def test_its_section_makes_an_experiment(project: Path) -> None:
    [section] = blocks("yaml")
    file = yaml.safe_load(section)
    file["problems"]["held_out"] = {"share": 0.25}
    file |= {"name": "mine", "rounds": [{}], "models": {"policy": {"base": "pretrained", "from": "nowhere"}}}
    path = project / "experiments" / "mine.yaml"
    path.write_text(yaml.safe_dump(file))
    experiment = load_experiment(path)
    assert experiment.problems.kinds == {"mine"}
    assert experiment.graders["mine"].source == (project / "experiments" / "mine" / "grade.py").read_text()
