"""Reading an experiment file: what is kept, and that every mistake is named."""

from pathlib import Path

import pytest

from perseid.errors import UserError
from perseid.experiment import load_experiment

SMALL = """
name: small
problems: {demonstrated: [gcd], undemonstrated: [lcm]}
search: {rollouts: 4}
rounds:
  - {}
  - {search: {ppm: true}, training: {policy: {steps: 7}}}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def test_a_round_lays_its_overrides_over_the_experiment(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, SMALL))
    assert (e.search_of(1).ppm, e.search_of(2).ppm) == (False, True)
    assert (e.search_of(1).rollouts, e.search_of(2).rollouts) == (4, 4)
    assert e.training_of(2).policy == e.training.policy.model_copy(update={"steps": 7})


def test_overrides_of_the_command_line_win(tmp_path: Path) -> None:
    assert load_experiment(written(tmp_path, SMALL), {"seed": 5, "search": {"candidates": 3}}).search.rollouts == 4


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("rollouts: 4", "rolouts: 4", "search.rolouts"),
        ("rollouts: 4", "rollouts: four", "search.rollouts"),
        ("rollouts: 4", "rollouts: 0", "search.rollouts"),
        ("steps: 7", "stps: 7", "rounds.1.training.policy.stps: Extra inputs"),
        ("ppm: true}", "ppm: 3}", "rounds.1.search.ppm: Input should be a valid boolean"),
        ("name: small", "name: Small One", "name"),
        ("rounds:\n  - {}\n  - {search: {ppm: true}, training: {policy: {steps: 7}}}", "rounds: []", "rounds"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in SMALL
    path = written(tmp_path, SMALL.replace(old, new))
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "name: [", "just words"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"small\.yaml: .*expected"):
        load_experiment(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: cannot be read"):
        load_experiment(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(Path("experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_of_the_repository_is_valid_and_named_as_its_file(path: Path) -> None:
    assert load_experiment(path).name == path.stem
