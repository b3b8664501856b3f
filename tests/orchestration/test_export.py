"""Registered versions are loaded by MLflow itself, from a process that knows nothing of this repository."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from assets.tracking import Account, Checkpoint
from models.tokenizer import train_tokenizer
from orchestration.tracking import MlflowTracking

LOAD = """
import json, sys
import mlflow
mlflow.set_tracking_uri(f"sqlite:///{sys.argv[1]}/mlflow.db")
policy = mlflow.pyfunc.load_model("models:/x-policy@champion")
ppm = mlflow.pyfunc.load_model("models:/x-ppm@round-01")
longest = policy.predict("a b", params={"max_new_tokens": 9})[0]
print(json.dumps([policy.predict(["a b", "b"], params={"max_new_tokens": 1}), ppm.predict(["a b c"])]))
assert len(longest) > len(policy.predict("a b", params={"max_new_tokens": 1})[0])
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """With a tiny policy and a tiny PPM as artifacts, registered."""
    root, version = tmp_path / "root", "a" * 16
    tokenizer = train_tokenizer(["a b c d"] * 20, 300, ["<|end|>"])
    checkpoints = []
    for stage, architecture in (("policy", LlamaForCausalLM), ("ppm", LlamaForSequenceClassification)):
        folder = root / "x" / "round_01" / stage / version / "model"
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        config = LlamaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=32, num_labels=1, pad_token_id=0, **shape
        )
        architecture(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        checkpoints.append(Checkpoint(f"x-{stage}", folder, version, {"round": "1"}, ""))
    aliases = {"x-policy": {"champion": version}, "x-ppm": {"round-01": version}}
    tracking_of(root).agree(Account("x", checkpoints, aliases, {}))
    return root


def tracking_of(root: Path) -> MlflowTracking:
    return MlflowTracking(folder=str(root / ".mlflow"))


def loaded(root: Path) -> tuple[list[str], list[float]]:
    elsewhere = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(root / ".mlflow")],
        cwd=root,
        env=elsewhere | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts, scores = json.loads(done.stdout.splitlines()[-1])
    return texts, scores


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_registered_version_loads_before_and_after_its_root_was_copied_and_the_old_one_removed(root: Path) -> None:
    before = files_in(root / "x")
    texts, scores = loaded(root)
    assert [len(text) > 0 for text in texts] == [True, True]
    assert [-1 < score < 1 for score in scores] == [True]
    moved = root.with_name("moved root")
    shutil.copytree(root, moved, symlinks=True)
    shutil.rmtree(root)
    assert tracking_of(moved).link.tell(lambda client: None)
    assert loaded(moved) == (texts, scores)
    assert files_in(moved / "x") == before
    client = tracking_of(moved).link.client
    assert client.get_experiment_by_name("x").artifact_location == (moved / ".mlflow" / "artifacts" / "x").as_uri()
