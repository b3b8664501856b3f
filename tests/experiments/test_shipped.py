"""Experiments that need problems and weights of their own: their files are right, and say what they would take."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestration.plan import Most, planned, sizes_of
from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def project(root: Path, name: str, **files: list[dict[str, Any]]) -> Experiment:
    """An experiment in a project that has its problems, and no weights."""
    (root / "data").mkdir()
    shutil.copytree(EXPERIMENTS, root / "experiments")
    for file, rows in files.items():
        (root / "data" / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_experiment(root / "experiments" / f"{name}.yaml")


def most(experiment: Experiment, root: Path) -> dict[str, Most]:
    found = planned(experiment, Store(root), sizes_of(experiment))
    return {each.node.key.partition("/")[2]: each.most for each in found}


def asked(of: str, count: int, **more: str) -> list[dict[str, Any]]:
    return [{"problem": f"{of} {n}?", "question": f"{of} {n}?", "answer": str(n), **more} for n in range(count)]


def test_the_paper_s_setting_takes_what_its_numbers_multiply_to(tmp_path: Path) -> None:
    """8 rollouts of 16 levels of 5 candidates; in the last round 144 of 16."""
    facets = {"level": "5", "subject": "algebra"}
    rows = {"math_train": asked("Find", 20, **facets), "math500": asked("Prove", 10, **facets)}
    found = most(project(tmp_path, "rstar_math_qwen", **rows), tmp_path)
    calls = 20 * 8 * 16 * 5
    assert found["round_01/trajectories"] == Most(20, calls, calls * 2048, disk=2 * calls * 2048)
    assert found["round_03/trajectories"].calls == 20 * 32 * 16 * 8
    assert found["round_04/trajectories"].calls == 20 * 144 * 16 * 16
    assert found["problems"].problems == 10
    assert found["round_04/policy"].disk is None


def test_the_pretrained_model_s_setting_samples_and_holds_out_whole_stories(tmp_path: Path) -> None:
    rows = [row for n in range(20) for row in asked(f"Story {n}", 50, story=f"{n:03d}", operation="addition")]
    experiment = project(tmp_path, "smollm2", svamp=rows)
    sizes = sizes_of(experiment)
    assert sizes.held_out % 50 == 0
    assert 0 < sizes.held_out < 1000
    found = most(experiment, tmp_path)
    assert found["round_01/samples"] == Most(400, 400 * 8, 400 * 8 * 64, disk=2 * 400 * 8 * 64)
    assert found["round_02/samples"].calls == 400 * 16


@pytest.mark.parametrize("name", ["smollm2", "rstar_math_qwen"])
def test_without_their_problems_the_file_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"problems\.train\.1\.path: .*data/\w+\.jsonl: cannot be read"):
        project(tmp_path, name)
