"""The guide to a model of one's own: what it shows is what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from perseid.checkpoints import Lora, Pretrained
from perseid.engines import Server, Transformers, Vllm
from perseid.experiment import load_experiment
from tests.models.tiny import checkpoint

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guide/own-model.md").read_text()
REST = """name: mine
problems: {train: [{source: jsonl, path: data/mine.jsonl, kind: number}], held_out: {share: 0.2}, pool: {problems: 8}}
recipe: rejection
rounds: [{}]
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    for folder in ("experiments", "data", "root"):
        (root / folder).mkdir()
    rows = [f'{{"question": "{n} + 7?", "answer": "{n + 7}"}}\n' for n in range(40)]
    (root / "data/mine.jsonl").write_text("".join(rows))
    checkpoint(root / "checkpoints/mine", "llama")
    return root


@pytest.mark.parametrize("text", blocks("yaml"))
def test_every_section_of_the_guide_is_taken(project: Path, text: str) -> None:
    (project / "experiments/mine.yaml").write_text(REST + text)
    policy = load_experiment(project / "experiments/mine.yaml").models.policy
    assert isinstance(policy, Pretrained)


def test_the_longer_section_says_everything_that_may_be_said(project: Path) -> None:
    [_, longer] = blocks("yaml")
    (project / "experiments/mine.yaml").write_text(REST + longer)
    policy = load_experiment(project / "experiments/mine.yaml").models.policy
    assert isinstance(policy, Pretrained)
    assert policy.model_fields_set == set(Pretrained.model_fields) - {"format"}
    assert policy.lora is not None
    assert policy.lora.model_fields_set == set(Lora.model_fields)


def test_every_command_of_the_guide_runs(project: Path) -> None:
    """The conversion up to its first need: the file."""
    (project / "experiments/mine.yaml").write_text(REST + blocks("yaml")[0])
    [plan, convert] = [line.removeprefix("$ ").split() for block in blocks("console") for line in block.splitlines()]
    assert plan == ["perseid", "plan", "mine"]
    place = [str(project / "experiments/mine.yaml"), "--root", str(project / "root")]
    done = said([sys.executable, "-m", "orchestration", "plan", *place])
    assert (done.returncode, done.stderr) == (0, "")
    assert convert[:3] == ["python", "-m", "models.bases.convert"]
    done = said([sys.executable, *convert[1:]])
    assert (done.returncode, done.stderr) == (2, "mine.Q4_1.gguf: GGUF: expected a file, found none\n")


def said(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_every_kind_of_engine_stands_in_the_table() -> None:
    told = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert told == [section.model_fields["kind"].default for section in (Transformers, Vllm, Server)]
