"""What tracking has to say of an experiment follows from the store alone."""

from pathlib import Path

import pytest

from assets.registry import account_of
from orchestration.places import EXPERIMENTS
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.experiment import load_experiment

SMOKE = load_experiment(EXPERIMENTS / "smoke.yaml")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def published(store: Store, key: str, weights: str) -> Manifest:
    with store.draft(key) as draft:
        draft.path("model").mkdir()
        (draft.path("model") / "model.safetensors").write_text(weights)
        return draft.publish("0" * 16, {})


def test_an_empty_store_says_nothing(store: Store) -> None:
    account = account_of(store, SMOKE)
    assert (list(account.checkpoints), dict(account.aliases), dict(account.rounds)) == ([], {}, {})


def test_each_checkpoint_is_named_by_its_round_the_newest_is_candidate_and_the_gate_names_the_champion(
    store: Store,
) -> None:
    base, first = (published(store, f"smoke/round_0{r}/policy", f"policy {r}") for r in (0, 1))
    ppm = published(store, "smoke/round_01/ppm", "ppm")
    gate.promote(store, "smoke", "smoke/round_00/policy")
    account = account_of(store, SMOKE)
    assert {(c.model, c.version, c.tags["round"]) for c in account.checkpoints} == {
        ("smoke-policy", base.version, "0"),
        ("smoke-policy", first.version, "1"),
        ("smoke-ppm", ppm.version, "1"),
    }
    assert account.aliases == {
        "smoke-policy": {
            "round-00": base.version,
            "round-01": first.version,
            "candidate": first.version,
            "champion": base.version,
        },
        "smoke-ppm": {"round-01": ppm.version, "candidate": ppm.version},
    }
    assert [(c.folder / "model.safetensors").read_text() for c in account.checkpoints if c.model == "smoke-ppm"] == [
        "ppm"
    ]


def test_a_champion_that_is_no_longer_current_stays_registered(store: Store) -> None:
    old = published(store, "smoke/round_00/policy", "old")
    gate.promote(store, "smoke", "smoke/round_00/policy")
    new = published(store, "smoke/round_00/policy", "new")
    account = account_of(store, SMOKE)
    assert {c.version for c in account.checkpoints} == {old.version, new.version}
    assert account.aliases["smoke-policy"] == {
        "round-00": new.version,
        "candidate": new.version,
        "champion": old.version,
    }
