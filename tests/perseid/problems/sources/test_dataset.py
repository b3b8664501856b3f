"""Data sets of the library `datasets`: saved folders, and the hub where there is none."""

from pathlib import Path
from typing import Any

import datasets
import pytest
from pydantic import ValidationError

from perseid.errors import UserError
from perseid.mistakes import described
from perseid.problems.making import first, key
from perseid.problems.settings import Problems
from tests.perseid.problems.conftest import SUMS, everything, section

COLUMNS = {"id": "id", "facets": ["level"]}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    whole = datasets.Dataset.from_list(SUMS)
    whole.save_to_disk(str(tmp_path / "one"), num_shards=3)
    parts = {"train": whole.select(range(20)), "test": whole.select(range(20, 30))}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "two"))
    return tmp_path


def questions(problems: Problems, root: Path) -> list[str]:
    return sorted(item.problem.question for item in everything(problems, root))


def test_a_saved_folder_is_a_source_of_its_rows(saved: Path) -> None:
    problems = section({"source": "dataset", "path": "one", "columns": COLUMNS})
    assert problems.unreadable(saved) is None
    assert questions(problems, saved) == sorted(str(row["question"]) for row in SUMS)


def test_a_saved_folder_with_splits_is_a_source_for_each(saved: Path) -> None:
    two = {"source": "dataset", "path": "two", "kind": "number"}
    problems = section({**two, "split": "train"}, held_out=[{**two, "split": "test"}])
    found = first(problems, 0, saved)
    assert (len(found.held_out), found.rows) == (10, {"held_out": 10, "train": 20})


def test_a_folder_is_told_by_its_rows_wherever_it_lies(saved: Path) -> None:
    one, moved = (section({"source": "dataset", "path": name}) for name in ("one", "moved"))
    was = key(one, saved)
    (saved / "one").rename(saved / "moved")
    assert key(moved, saved) == was
    assert key(section({"source": "dataset", "path": "two", "split": "test"}), saved) != was


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"path": "none"}, "none: expected a folder that save_to_disk wrote"),
        ({"path": "two"}, "two: expected split: test or train"),
        ({"path": "one", "split": "test"}, "one: expected a folder that save_to_disk wrote"),
        ({"path": "broken"}, "broken: cannot be read"),
    ],
)
def test_a_folder_that_is_none_is_one_line(saved: Path, given: dict[str, Any], told: str) -> None:
    (saved / "broken").mkdir()
    (saved / "broken/state.json").write_text("{}")
    found = section({"source": "dataset", **given}).unreadable(saved)
    assert found is not None
    assert found[0] == "problems.train.1.path"
    assert found[1].startswith(told)


def test_without_a_hub_the_error_says_which_folder_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    hub = {"source": "dataset", "hub": "openai/gsm8k", "revision": "a" * 40, "split": "train"}
    problems = section(hub)
    assert problems.unreadable(tmp_path) is None
    assert key(problems, tmp_path) == key(problems, tmp_path)
    with pytest.raises(UserError, match=r"openai/gsm8k: cannot be loaded: .*; where a hub is reachable run ") as caught:
        first(problems, 0, tmp_path)
    assert str(caught.value).endswith("save_to_disk('data/train'), and name that folder: path: data/train")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("given", "where", "expected"),
    [
        ({}, "path", "expected path (a folder that save_to_disk wrote) or hub (a name), one of them"),
        ({"path": "a", "hub": "b"}, "path", "expected path (a folder that save_to_disk wrote) or hub"),
        ({"path": "a", "revision": "b"}, "revision", "has no effect on a folder"),
        ({"hub": "a"}, "revision", "expected a commit of the hub's repository, 40 hex digits"),
        ({"hub": "a", "revision": "0" * 40}, "split", "expected the name of a split, like train"),
        ({"hub": "../a"}, "hub", "expected the name of a data set of the hub"),
    ],
)
def test_a_mistake_names_its_key(given: dict[str, Any], where: str, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section({"source": "dataset", **given})
    found = described(caught.value, Problems)
    assert found[0] == f"train.1.{where}"
    assert found[1].startswith(expected)
