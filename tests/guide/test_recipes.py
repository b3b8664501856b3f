"""The guide to recipes: what it tells to run runs, what it shows of a file is valid, and its own recipe unrolls."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from assets.graph import unroll
from perseid.experiment import Experiment, load_experiment
from perseid.recipes import recipes
from perseid.rounds import overlay
from tests.guide.reading import blocks, commands

PAGE = "recipes.md"
ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "experiments" / "smoke_rejection.yaml"


@pytest.mark.parametrize("block", blocks(PAGE, "yaml"))
def test_what_is_shown_of_a_file_can_be_laid_over_one(block: str) -> None:
    whole: dict[str, Any] = yaml.safe_load(SMOKE.read_text())
    said: dict[str, Any] = yaml.safe_load(block)
    if said.get("recipe", whole["recipe"]) != whole["recipe"]:  # its method is of another kind, with other keys
        del whole["method"]
    Experiment.model_validate(overlay(whole, said))


def test_the_recipe_of_the_page_unrolls_into_a_graph() -> None:
    [block] = blocks(PAGE, "python")
    written: dict[str, Any] = {}
    exec(compile(block, PAGE, "exec"), written)
    graph = unroll(load_experiment(SMOKE), SimpleNamespace(stages=written["stages"]))
    assert graph["smoke_rejection/round_02/policy"].roles == {
        "base": ("smoke_rejection/round_01/policy",),
        "verified": ("smoke_rejection/round_01/verified", "smoke_rejection/round_02/verified"),
    }


def test_every_recipe_stands_on_the_page() -> None:
    text = (ROOT / "docs" / "guide" / PAGE).read_text()
    assert [name for name in recipes() if f"| `{name}` |" not in text] == []


@pytest.mark.slow
def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    """In the order of the page, in one root."""
    env = {**os.environ, "PERSEID_ROOT": str(tmp_path / "root"), "HF_HUB_OFFLINE": "1"}
    for command in commands(PAGE):
        words = shlex.split(command)[1:]
        done = subprocess.run(
            [sys.executable, "-m", "orchestration", *words], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert done.stdout.strip(), command
    assert len(commands(PAGE)) >= 6
