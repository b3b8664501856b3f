"""Reading an experiment file: what is kept, and that every mistake is named."""

from pathlib import Path

import pytest

from perseid.errors import UserError
from perseid.experiment import Experiment, PolicyTraining, Pool, Training, load_experiment
from perseid.section import canonical

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


def test_at_a_round_the_sections_are_as_that_round_sees_them(tmp_path: Path) -> None:
    e = load_experiment(written(tmp_path, SMALL.replace("- {}", "- {pool: {composed: 1}, selection: {top: 3}}")))
    assert e.at(0) == e
    first, second = e.at(1), e.at(2)
    assert (first.problems.pool, second.problems.pool) == (Pool(composed=1), Pool())
    assert (first.search, second.search) == (e.search, e.search.model_copy(update={"ppm": True}))
    assert (first.selection.top, second.selection.top) == (3, e.selection.top)
    assert second.training == Training(policy=PolicyTraining(steps=7))
    assert first.problems.demonstrated == e.problems.demonstrated
    with pytest.raises(IndexError):
        e.at(3)


@pytest.mark.parametrize("rounds", [[{}], [{"search": {"rollouts": 2}}]])
def test_what_only_changes_how_the_work_is_done_is_no_part_of_the_canonical_form(rounds: list[dict]) -> None:
    problems = {"demonstrated": ["gcd"], "undemonstrated": ["lcm"]}

    def of(engine: dict, **more: object) -> object:
        e = Experiment.model_validate({"name": "x", "problems": problems, "engine": engine, "rounds": rounds, **more})
        return canonical(e.at(1).engine), canonical(e).keys()

    assert of({}) == of({"live_trees": 1}, description="words")
    assert of({})[0] == {"kind": "transformers"}
    assert of({"batch": 8, "threads": 1})[0] == {"kind": "transformers", "batch": 8, "threads": 1}
    vllm = {"kind": "vllm", "batch": 8, "threads": 1, "memory_gib": 1.0, "memory_share": 0.5, "live_trees": 1}
    assert of(vllm)[0] == {"kind": "vllm"}
    here = {"kind": "server", "endpoints": ["http://a:1/v1"]}
    there = {"kind": "server", "endpoints": ["http://b:2/v1"], "timeout_s": 1.0, "patience_s": 0.0, "batch": 3}
    assert of(here) == of(there)
    assert of({**here, "model": "mine"})[0] == {"kind": "server", "model": "mine"}


def test_a_key_of_another_kind_of_engine_is_refused_and_no_union_shows(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + 'engine: {kind: vllm, endpoints: ["http://127.0.0.1:8000/v1"]}\n')
    with pytest.raises(UserError, match=r"small\.yaml: engine\.endpoints: "):
        load_experiment(path)


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
