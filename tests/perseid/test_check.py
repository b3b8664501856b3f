import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from perseid.artifacts import Manifest, Store
from perseid.artifacts.manifest import version_of
from perseid.check import check
from perseid.errors import UserError
from perseid.gate import Case, Decision, Holder, apply
from perseid.queries import run_query

KEY = "toy/round_01/policy"
TRAINING = pl.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "tokens": [64, 64]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for key in (KEY, "toy/round_02/policy", "other/round_01/policy"):
        with store.draft(key) as draft:
            draft.table("training", TRAINING)
            draft.path("model").mkdir()
            (draft.path("model") / "model.safetensors").write_bytes(b"weights of a model" * 10)
            (draft.path("model") / "config.json").write_text("{}")
            draft.publish("code", {"toy/problems": "0" * 16})
    return store


def made(store: Store, key: str = KEY) -> Manifest:
    manifest = store.current(key)
    assert manifest is not None
    return manifest


def folder(store: Store) -> Path:
    return store.place(KEY) / made(store).version


def flip(path: Path, at: int, count: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + count] = bytes(byte ^ 1 for byte in content[at : at + count])
    path.write_bytes(bytes(content))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_whole_store_has_no_fault_and_is_counted(store: Store) -> None:
    checked = check(store)
    assert (checked.artifacts, checked.files, checked.faults) == (3, 9, [])
    manifests = [made(store, key) for key in ("toy/round_01/policy", "toy/round_02/policy", "other/round_01/policy")]
    assert checked.bytes == sum(file.bytes for manifest in manifests for file in manifest.files.values())


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("training.parquet", lambda path: flip(path, 40, 4), "damaged: its sha256 is not the manifest's (expected "),
    ("model/model.safetensors", lambda path: flip(path, 7), "damaged: its sha256 is not the manifest's (expected "),
    ("model/config.json", lambda path: path.write_text("{} "), "damaged: it has 3 bytes instead of 2"),
    ("model/config.json", lambda path: path.unlink(), "damaged: it is missing"),
    ("model/more.bin", lambda path: path.write_bytes(b""), "expected no such file"),
    ("manifest.json", lambda path: edit(path, tokens=5), "seal: damaged manifest: it was edited: expected "),
    ("manifest.json", lambda path: edit(path, inputs={}), "seal: damaged manifest: it was edited: expected "),
    ("manifest.json", lambda path: edit(path, key=7), "key: damaged manifest: Input should be a valid string"),
    ("manifest.json", lambda path: path.write_text("{"), "damaged manifest: "),
    ("manifest.json", lambda path: path.write_bytes(b"\xff"), "damaged manifest: "),
    ("manifest.json", lambda path: path.write_text("[" * 100_000), "damaged manifest: "),
    ("manifest.json", lambda path: path.unlink(), "cannot be read (No such file or directory)"),
    ("../current", lambda path: path.write_text("nonsense"), "expected a version of 16 hex digits, found 'nonsense'"),
    ("../current", lambda path: path.write_text("0" * 16), f"expected the folder of version {'0' * 16}, found none"),
]


@pytest.mark.parametrize(("name", "damage", "told"), DAMAGE, ids=[f"{row[0]} {row[2][:30]}" for row in DAMAGE])
def test_damage_is_one_line_that_names_the_file_and_what_mends_it(
    store: Store, name: str, damage: Callable[[Path], object], told: str
) -> None:
    path = (folder(store) / name).resolve()
    damage(path)
    checked = check(store)
    assert len(checked.faults) == 1
    assert checked.faults[0].startswith(f"{path}: ")
    assert told in checked.faults[0]
    assert any(word in checked.faults[0] for word in ("evolve again", "delete it"))
    assert check(store, ["other"]).faults == []


def test_a_version_of_another_name_and_another_artifacts_folder_are_faults(store: Store) -> None:
    other = store.place("toy/round_02/policy") / made(store, "toy/round_02/policy").version
    shutil.rmtree(folder(store))
    shutil.copytree(other, store.place(KEY) / made(store, "toy/round_02/policy").version)
    assert "key: damaged manifest: expected toy/round_01/policy, found 'toy/round_02/policy'" in check(store).faults[0]
    other.rename(other.with_name("0" * 16))
    (other.parent / "current").write_text("0" * 16)
    assert (
        "version: damaged manifest: expected 0000000000000000, its folder's name, found"
        in check(store, ["toy/round_02"]).faults[0]
    )


def test_a_table_that_breaks_its_schema_is_a_fault_even_with_the_right_hash(store: Store) -> None:
    with store.draft(KEY) as draft:
        frame = TRAINING.with_columns(loss=pl.lit(-1.0))
        frame.write_parquet(draft.path("training.parquet"))
        draft.frames["training"] = frame
        manifest = draft.publish("code", {})
    assert version_of(manifest.files) == manifest.version
    assert "training.parquet: loss: " in check(store, [KEY]).faults[0]


def test_a_champion_that_is_gone_and_a_damaged_gate_are_faults(store: Store) -> None:
    gone = Case(candidate=Holder(key=KEY, version="0" * 16))
    apply(store, "toy", gone, Decision(verdict="promote", reason="first"))
    assert f"{'0' * 16}/manifest.json: cannot be read" in check(store).faults[0]
    (store.root / "toy" / "champion.json").write_text("{")
    assert "champion.json: damaged" in check(store).faults[0]


def test_what_is_not_in_the_store_is_refused(store: Store) -> None:
    assert check(store, ["toy/round_01"]).artifacts == 1
    with pytest.raises(UserError, match=r"toy/round_03: no such artifact; .* it holds other, toy"):
        check(store, ["toy/round_03"])


def test_a_query_is_told_of_a_damaged_table_before_it_counts_its_rows(store: Store) -> None:
    flip(folder(store) / "training.parquet", 40, 4)
    with pytest.raises(UserError, match=r"training\.parquet: damaged: its sha256 .* evolve again"):
        run_query(store, "select sum(step) from training")


def test_a_users_own_folders_below_the_root_are_no_artifacts(store: Store) -> None:
    for name in ("My notes", ".git", "Toy", "toy/.tmp-mine"):
        (store.root / name).mkdir(parents=True)
        (store.root / name / "current").write_text("mine")
    assert store.keys() == ["other/round_01/policy", KEY, "toy/round_02/policy"]
    assert check(store).faults == []
