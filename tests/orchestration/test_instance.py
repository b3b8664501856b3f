"""The Dagster instance: made once, and damage named in one line."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from orchestration.instance import DATABASES, check_databases, create_instance, opened
from orchestration.places import Places
from perseid.errors import UserError

ROOT = Path(__file__).parents[2]
MAKE = (
    "import sys\nfrom orchestration.instance import create_instance\nfrom orchestration.places import Places\n"
    "places = Places.of(sys.argv[1])\nplaces.prepare()\ncreate_instance(places)\n"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Made by three processes at once."""
    root = tmp_path_factory.mktemp("root")
    makers = [subprocess.Popen([sys.executable, "-c", MAKE, str(root)], cwd=ROOT) for _ in range(3)]
    assert [maker.wait(120) for maker in makers] == [0, 0, 0]
    return Places.of(root)


@pytest.mark.slow
def test_databases_that_processes_make_at_once_are_whole_and_have_one_revision(made: Places) -> None:
    for name in DATABASES:
        with closing(sqlite3.connect(made.dagster / name)) as connection:
            assert len(connection.execute("select * from alembic_version").fetchall()) == 1
    check_databases(made)
    with opened(made.dagster) as instance:
        assert list(instance.get_runs()) == []
    assert list(made.dagster.glob(".tmp-*")) == []


def look_at(places: Places) -> None:
    check_databases(places)
    with opened(places.dagster):
        pass


def test_one_database_that_is_missing_is_made_anew_beside_the_others(made: Places) -> None:
    (made.dagster / DATABASES[2]).unlink()
    create_instance(made)
    assert all((made.dagster / name).exists() for name in DATABASES)


@pytest.mark.parametrize("damage", [b"no database" * 1000, None])
def test_a_damaged_database_is_named_with_what_to_do(made: Places, damage: bytes | None) -> None:
    for path in (*(made.dagster / name for name in DATABASES), made.mlflow / "mlflow.db"):
        whole = path.read_bytes() if path.exists() else (made.dagster / DATABASES[0]).read_bytes()
        path.write_bytes(damage or whole[:4096] + b"\xff" * 4096 + whole[8192:])
        with pytest.raises(UserError, match="move it away and run again") as error:
            check_databases(made)
        assert (str(error.value).count(str(path)), "\n" in str(error.value)) == (1, False)
        path.write_bytes(whole)
    check_databases(made)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "- 1", "\x00", "run_monitorin: {}", "run_monitoring: {enabled: maybe}", "a: 9999-99-99"),
        *("storage: null", "concurrency: 3", "storage: {sqlite: {base_dir: /proc/nowhere}}"),
        *("run_launcher: {module: nowhere, class: X}", "run_coordinator: {module: os, class: path}"),
    ],
)
def test_settings_that_cannot_be_taken_are_named_with_what_to_do(made: Places, text: str) -> None:
    path = made.dagster / "dagster.yaml"
    before = path.read_text()
    path.write_text(text)
    with pytest.raises(UserError, match="delete it to get the default") as error:
        look_at(made)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < 600
    path.write_text(before)


def test_settings_that_dagster_refuses_on_an_empty_root_are_named_where_they_lie(tmp_path: Path) -> None:
    places = Places.of(tmp_path)
    places.prepare()
    (places.dagster / "dagster.yaml").write_text("run_monitorin: {}")
    with pytest.raises(UserError, match="run_monitorin") as error:
        create_instance(places)
    assert str(error.value).startswith(f"{places.dagster / 'dagster.yaml'}: ")


def test_a_database_that_another_process_holds_is_not_damaged(made: Places) -> None:
    with closing(sqlite3.connect(made.dagster / DATABASES[0], isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        check_databases(made)


def test_what_is_no_database_is_named_and_not_waited_for(tmp_path: Path) -> None:
    places = Places.of(tmp_path)
    places.prepare()
    for path in (places.dagster / DATABASES[0], places.mlflow / "mlflow.db"):
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        with pytest.raises(UserError, match="expected a database, found none"):
            check_databases(places)
        path.unlink()


def test_a_pipe_in_the_place_of_the_settings_is_named_and_not_waited_for(tmp_path: Path) -> None:
    places = Places.of(tmp_path)
    places.prepare()
    (places.dagster / "dagster.yaml").unlink()
    os.mkfifo(places.dagster / "dagster.yaml")
    with pytest.raises(UserError, match="not a regular file"):
        check_databases(places)
