"""A training that is killed ends in the weights, and the curve, of one that was not."""

import json
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.attempt import Attempt
from models.checkpoint import weights_hash
from models.examples import Example
from models.ppm import train_ppm
from models.resuming import SEAL, Resuming, newest, seal
from models.sft import train_policy
from perseid.experiment import PolicyTraining, PpmTraining
from tests.models.conftest import ATTEMPT
from tests.models.test_ppm import pairs

# Sixty examples in batches of 16: an epoch of four steps, so that checkpoints fall within one and between two.
POLICY = PolicyTraining(steps=60, batch=16, learning_rate=5e-3)
PPM = PpmTraining(epochs=4, batch=8)


class Killed(Exception):
    """Stands for the end of the process where a test needs none."""


def dies_at(step: int, state: Path) -> Attempt:
    def progress(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return replace(ATTEMPT, state=state, progress=progress, every_s=0.0)


def steps_of(state: Path) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in state.glob("checkpoint-*"))


@pytest.fixture(scope="module")
def whole(examples: list[Example], untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """Weights and curve of an attempt that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    curve, _ = train_policy(examples, untrained, POLICY, None, folder, ATTEMPT)
    return weights_hash(folder), curve.rows()


@pytest.mark.slow
def test_a_policy_killed_twice_ends_as_one_that_was_not(
    examples: list[Example], untrained: Path, whole: tuple[str, Any], tmp_path: Path
) -> None:
    state, out, told = tmp_path / "state", tmp_path / "out", []
    for step in (17, 43):
        with pytest.raises(Killed):
            train_policy(examples, untrained, POLICY, None, out, dies_at(step, state))
    last = replace(ATTEMPT, state=state, progress=lambda done, total: told.append(done))
    curve, _ = train_policy(examples, untrained, POLICY, None, out, last)
    assert told == list(range(41, 61))
    assert (weights_hash(out), curve.rows()) == whole


@pytest.mark.slow
def test_a_ppm_killed_ends_as_one_that_was_not(policy: Path, tmp_path: Path) -> None:
    known = pairs(range(10, 70))
    curve, _ = train_ppm(known, policy, PPM, None, tmp_path / "whole", ATTEMPT)
    for step in (7, 18):
        with pytest.raises(Killed):
            train_ppm(known, policy, PPM, None, tmp_path / "out", dies_at(step, tmp_path / "state"))
    assert steps_of(tmp_path / "state") == [10, 15]
    again, _ = train_ppm(known, policy, PPM, None, tmp_path / "out", replace(ATTEMPT, state=tmp_path / "state"))
    assert weights_hash(tmp_path / "out") == weights_hash(tmp_path / "whole")
    assert again.equals(curve)


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    examples: list[Example], untrained: Path, whole: tuple[str, Any], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with pytest.raises(Killed):
        train_policy(examples, untrained, POLICY, None, tmp_path / "out", dies_at(35, state))
    damaged = state / "checkpoint-30" / "optimizer.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"~")
    told: list[int] = []
    last = replace(ATTEMPT, state=state, progress=lambda done, total: told.append(done))
    curve, _ = train_policy(examples, untrained, POLICY, None, tmp_path / "out", last)
    assert told[0] == 21
    assert (weights_hash(tmp_path / "out"), curve.rows()) == whole


@pytest.mark.slow
def test_a_process_killed_in_the_midst_of_training_loses_its_steps_since_the_checkpoint_alone(
    examples: list[Example], untrained: Path, whole: tuple[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "examples.pickle").write_bytes(pickle.dumps(examples))
    program = f"""
import json, pickle, torch
from pathlib import Path
from dataclasses import replace
from models.sft import train_policy
from tests.models.test_resuming import ATTEMPT, POLICY
torch.set_num_threads({torch.get_num_threads()})
here, start = Path({str(tmp_path)!r}), Path({str(untrained)!r})
examples = pickle.loads((here / "examples.pickle").read_bytes())
attempt = replace(ATTEMPT, state=here / "state", every_s=0.0, progress=lambda done, total: print(done, flush=True))
curve, _ = train_policy(examples, start, POLICY, None, here / "out", attempt)
(here / "curve.json").write_text(json.dumps(curve.rows()))
"""
    begun = [first_step_of(program, killed_at) for killed_at in (12, 27, 48, None)]
    assert begun == [1, 11, 21, 41]
    assert weights_hash(tmp_path / "out") == whole[0]
    assert [tuple(row) for row in json.loads((tmp_path / "curve.json").read_text())] == whole[1]


def first_step_of(program: str, killed_at: int | None) -> int:
    """Run it, SIGKILL it once it has told of that step."""
    root = Path(__file__).resolve().parents[2]
    told: list[int] = []
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            told.append(int(line))
            if told[-1] == killed_at:
                child.send_signal(signal.SIGKILL)
    assert child.returncode == (0 if killed_at is None else -signal.SIGKILL)
    return told[0]


def checkpoint(state: Path, step: int, sealed: bool = True) -> Path:
    folder = state / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(f"of step {step}")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    if sealed:
        seal(folder, torch.get_rng_state())
    return folder


def test_the_newest_sealed_checkpoint_counts_and_what_is_newer_is_removed(tmp_path: Path) -> None:
    for step in (80, 90, 100):
        checkpoint(tmp_path, step)
    checkpoint(tmp_path, 110, sealed=False)
    assert newest(tmp_path) == tmp_path / "checkpoint-100"
    assert steps_of(tmp_path) == [90, 100]


@pytest.mark.parametrize("damage", ["cut", "gone", "changed", "seal of nothing", "seal of a list"])
def test_without_a_whole_checkpoint_the_training_begins_anew(tmp_path: Path, damage: str) -> None:
    folder = checkpoint(tmp_path, 100)
    match damage:
        case "cut":
            (folder / "weights").write_text("of step")
        case "gone":
            (folder / "weights").unlink()
        case "changed":
            (folder / "weights").write_text("of step 101")
        case "seal of nothing":
            (folder / SEAL).write_text("{}")
        case _:
            (folder / SEAL).write_text("[1]")
    assert newest(tmp_path) is None
    assert steps_of(tmp_path) == []


def test_a_sealed_checkpoint_holds_no_pickle_of_settings(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, 100)
    assert sorted(path.name for path in folder.iterdir()) == ["epoch.safetensors", SEAL, "weights"]


class Anything:
    """Stands for the trainer's arguments, state or control: whatever it was given."""

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)


def test_checkpoints_take_a_fiftieth_of_the_time_at_most_and_none_is_taken_between_two_logs_or_at_the_end() -> None:
    now = [0.0]
    resuming, asked = Resuming(5.0, None, clock=lambda: now[0]), []
    for step in range(1, 401):
        now[0] += 1.0
        control = Anything(should_save=False)
        resuming.on_step_end(Anything(logging_steps=10), Anything(global_step=step, max_steps=400), control)
        if control.should_save:
            asked.append(step)
            now[0] += 2.0
            resuming.on_save(None, None, None)
    assert asked == [10, 110, 210, 310]
