import sqlite3
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy

from orchestration.places import Places, sqlite_uri
from orchestration.tracking import MlflowTracking
from perseid.artifacts import Manifest, Store
from perseid.artifacts.addresses import plain
from perseid.errors import UserError
from perseid.lineage import ancestors
from perseid.queries import run_query

NAMES = [
    *("a [x]", "a?q", "a%20p", "a#b", "[!a]", "[]", "**", "a*", "%", "a%3Fq?b=c", "a\\b", "a\\[b", "{a,b}", "a=1"),
    *("-x", "--root", "~", "$HOME", " lead", "it's", 'a "b"', "a;b", "a:b@c", "file:a", "s3:", "é中", "a&b+c", ".dot"),
]
TRAINING = pl.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "tokens": [64, 64]})


def published(store: Store, key: str, inputs: dict[str, str]) -> Manifest:
    with store.draft(key) as draft:
        draft.table("training", TRAINING)
        draft.path("model").mkdir()
        (draft.path("model") / "model.safetensors").write_bytes(b"weights")
        return draft.publish("code", inputs)


def tops(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_root_of_any_name_is_written_read_asked_and_traced(tmp_path: Path, name: str) -> None:
    store = Store(Places.of(tmp_path / name).root)
    parent = published(store, "toy/round_00/policy", {})
    made = published(store, "toy/round_01/policy", {parent.key: parent.version})
    assert store.read(made, "training").equals(TRAINING)
    assert store.folder(made).is_relative_to(tmp_path / name)
    assert store.keys() == [parent.key, made.key]
    assert run_query(store, "select round, sum(step) as steps from training group by all order by all").rows() == [
        (0, 3),
        (1, 3),
    ]
    assert [above.key for above in ancestors(store, made.key).parents] == [parent.key]
    assert tops(tmp_path) == [name]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_lies_where_its_address_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    engine = sqlalchemy.create_engine(sqlite_uri(tmp_path / name / "a.db"))
    with engine.begin() as connection:
        connection.exec_driver_sql("create table t (x)")
    engine.dispose()
    assert tops(tmp_path) == [name]
    with sqlite3.connect(tmp_path / name / "a.db") as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("t",)]


def test_a_name_without_meaning_stays_as_it_is(tmp_path: Path) -> None:
    assert plain(tmp_path / "a#b c" / "é") == tmp_path / "a#b c" / "é"
    assert sqlite_uri(tmp_path / "a.db") == f"sqlite:///{tmp_path / 'a.db'}"


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\x1b[31m", "a\udcffb", "‮"])
def test_a_root_whose_name_cannot_be_printed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="root: expected a name that can be printed"):
        Places.of(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a [x]", "a?q", "a%20p", 'it\'s "#é"'])
def test_tracking_and_dagster_lie_inside_a_root_of_any_name(tmp_path: Path, name: str) -> None:
    import dagster as dg

    from orchestration.instance import create_instance

    places = Places.of(tmp_path / name)
    places.prepare()
    tracking = MlflowTracking(folder=str(places.mlflow))
    with tracking.attempt("toy/round_01", "toy/round_01/policy", {}) as run:
        run.picture("loss", b"png")
    create_instance(places)
    with dg.DagsterInstance.from_config(str(plain(places.dagster))) as instance:
        assert list(instance.get_runs()) == []
    assert (places.mlflow / "mlflow.db").is_file()
    assert [path.read_bytes() for path in places.mlflow.rglob("loss.png")] == [b"png"]
    assert (places.dagster / "history" / "runs.db").is_file()
    assert tops(tmp_path) == [name]
