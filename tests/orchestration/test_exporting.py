"""`export`: whose policy is taken, and what its card says of it."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from orchestration.exporting import exported
from perseid import gate
from perseid.artifacts import Facts, Manifest, Store
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.tables import frame
from tests.models.tiny import checkpoint

POLICY = "x/round_01/policy"
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "rounds": [{}],
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "root")


def made(store: Store) -> Manifest:
    with store.draft(POLICY) as draft:
        checkpoint(draft.path("model"), "llama")
        return draft.publish("code", {})


def test_a_round_s_policy_becomes_a_folder_that_loads_by_itself_with_its_score_on_the_card(
    store: Store, tmp_path: Path
) -> None:
    policy = made(store)
    with store.draft("x/round_01/evaluation") as draft:
        draft.table("evaluations", frame("evaluations", [("p", "policy", "greedy", 0, "answer", "1", True, 5, None)]))
        draft.table("metrics", frame("metrics", [("policy", "greedy_pass@1", "all", "all", 0.5, 0.25, 0.75, 8)]))
        draft.publish("code", {POLICY: policy.version}, Facts(roles={"policy": [POLICY]}))
    folder, manifest = exported(EXPERIMENT, store, tmp_path / "out", 1)
    assert (folder, manifest) == (tmp_path / "out", policy)
    card = (folder / "README.md").read_text()
    assert f"perseid://{POLICY}@{policy.version}" in card
    assert "50.0% [25.0%, 75.0%] of 8 held-out problems" in card
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
    assert AutoTokenizer.from_pretrained(folder).eos_token == "<|endoftext|>"


def test_without_a_round_it_is_the_champion(store: Store, tmp_path: Path) -> None:
    policy = made(store)
    with pytest.raises(UserError, match="x: --round: expected a round: there is no champion yet"):
        exported(EXPERIMENT, store, tmp_path / "out", None)
    gate.promote(store, "x", POLICY)
    assert exported(EXPERIMENT, store, tmp_path / "out", None)[1] == policy


@pytest.mark.parametrize(("number", "told"), [(2, r"in \[0, 1\], found 2"), (-1, "found -1"), (0, "is made, found 0")])
def test_a_round_that_has_no_policy_is_one_line(store: Store, tmp_path: Path, number: int, told: str) -> None:
    made(store)
    with pytest.raises(UserError, match=f"x: --round: expected .*{told}"):
        exported(EXPERIMENT, store, tmp_path / "out", number)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_kept(store: Store, tmp_path: Path) -> None:
    made(store)
    with pytest.raises(UserError, match="exists already"):
        exported(EXPERIMENT, store, tmp_path, 1)
