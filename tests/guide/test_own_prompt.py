"""The guide to prompts of one's own: its section loads with its files, and says every key and rule that there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from perseid.experiment import load_experiment
from perseid.formats import chain, code_steps, format_of
from perseid.formats.extraction import IN_TEXT
from tests.guide.reading import GUIDES, blocks

PAGE = "own-prompt.md"
ROOT = GUIDES.parents[1]
REST = """name: mine
problems: {train: [{source: jsonl, path: data/mine.jsonl, kind: boolean}], held_out: {share: 0.2}, pool: {problems: 8}}
recipe: rejection
rounds: [{}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The guide's experiment in a project with the files that it has one write."""
    for folder in ("experiments", "data", "prompts"):
        (tmp_path / folder).mkdir()
    rows = [f'{{"question": "Is {n} even?", "answer": {str(n % 2 == 0).lower()}}}\n' for n in range(40)]
    (tmp_path / "data/mine.jsonl").write_text("".join(rows))
    for language in ("jinja", "shots"):
        [text] = blocks(PAGE, language)
        name = re.search(r"prompts/\S+", text)
        assert name is not None
        (tmp_path / name[0]).write_text(text)
    path = tmp_path / "experiments/mine.yaml"
    path.write_text(REST + blocks(PAGE, "yaml")[0])
    return path


def test_its_section_says_every_key_and_its_files_are_taken(file: Path) -> None:
    settings = load_experiment(file).models.policy.format
    assert settings.model_fields_set == set(chain.Settings.model_fields)
    ask = 'Think in short lines, then end with "The answer is yes." or "The answer is no."'
    shown = "A triangle has 3 sides and a square has 4.\nThe answer is yes."
    told = format_of(settings).prompt("1?", shots=True).messages
    assert [(role, content.strip()) for role, content in told] == [
        ("system", "Answer with yes or no."),
        ("user", f"Does a triangle have fewer sides than a square? {ask}"),
        ("assistant", shown),
        ("user", f"1? {ask}"),
    ]


def test_its_commands_show_it(file: Path, tmp_path: Path) -> None:
    for line in blocks(PAGE, "console")[0].splitlines():
        words = [str(file) if word == "mine" else word for word in line.removeprefix("$ perseid ").split()]
        run = [sys.executable, "-m", "orchestration", *words, "--root", str(tmp_path / "root")]
        done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert (done.returncode, "even? Think in short lines" in done.stdout) == (0, True), done.stderr
        assert ("triangle" in done.stdout) == ("--trained" not in words)


def test_every_kind_and_every_rule_stands_there() -> None:
    text = (GUIDES / PAGE).read_text()
    kinds = [section.model_fields["kind"].default for section in (code_steps.Settings, chain.Settings)]
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == kinds
    assert [rule for rule in ("program", *IN_TEXT) if f"`{rule}`" not in text] == []
