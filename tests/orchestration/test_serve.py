"""`ui`: real servers, on loopback alone, all of which go with it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest

from models.engines.guard import marked
from orchestration.dead_runs import PROCESS_TAG
from orchestration.instance import create_instance, opened
from orchestration.places import Places
from orchestration.serve import Once, check_ports, end
from perseid.errors import UserError
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
MARK = "PERSEID_TEST_UI"
UI = (sys.executable, "-m", "orchestration", "ui")
Process = subprocess.Popen[str]
STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Ui:
    """A `ui` of a root, whose processes can be found by a mark."""

    def __init__(self, root: Path) -> None:
        self.port, self.mlflow_port = free_ports(2)
        self.mark = f"{MARK}={os.getpid()}-{self.port}"
        # As a shell starts it in the background: there SIGINT is ignored.
        self.process: Process = subprocess.Popen(
            [*UI, "--root", str(root), "--port", str(self.port), "--mlflow-port", str(self.mlflow_port)],
            cwd=ROOT,
            env=os.environ | dict([self.mark.split("=")]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )

    def serves(self, within_s: float = 180) -> bool:
        for url in (f"http://127.0.0.1:{self.port}/server_info", f"http://127.0.0.1:{self.mlflow_port}/health"):
            eventually(lambda url=url: answers(url) or self.ended(), within_s)  # type: ignore[misc]
        return not self.ended()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def all(self) -> list[int]:
        return marked(self.mark.encode())

    def gone(self) -> bool:
        return eventually(lambda: self.all() == [], 60)

    def named(self, part: str) -> psutil.Process:
        """The process whose command line holds `part`."""
        return next(p for p in map(psutil.Process, self.all()) if any(part in word for word in p.cmdline()))


@dg.job
def nothing() -> None: ...


@contextmanager
def ui_of(root: Path) -> Iterator[Ui]:
    ui = Ui(root)
    try:
        yield ui
    finally:
        for pid in ui.all():
            os.kill(pid, signal.SIGKILL)
        ui.process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_servers_answer_and_end_with_the_command(tmp_path: Path, number: signal.Signals) -> None:
    with ui_of(tmp_path / "artifacts") as ui:
        assert ui.serves()
        ui.process.send_signal(number)
        assert ui.process.wait(60) == 0
        assert ui.gone()


@pytest.mark.slow
def test_killed_it_takes_all_with_it_and_may_be_started_again_at_once_but_not_twice(tmp_path: Path) -> None:
    with ui_of(tmp_path / "artifacts") as first:
        assert first.serves()
        assert len(first.all()) >= 4
        first.process.kill()
        with ui_of(tmp_path / "artifacts") as second:
            assert first.gone()
            assert second.serves()
            with ui_of(tmp_path / "artifacts") as third:
                _, said = third.process.communicate(timeout=60)
            assert third.process.returncode == 2
            assert (said.count("\n"), "is served already" in said) == (1, True)
            assert second.process.poll() is None


@pytest.mark.slow
def test_a_server_that_dies_ends_the_others_and_gives_its_status(tmp_path: Path) -> None:
    with ui_of(tmp_path / "artifacts") as ui:
        assert ui.serves()
        ui.named("dagster._daemon").kill()
        _, said = ui.process.communicate(timeout=60)
        assert ui.process.returncode == 128 + signal.SIGKILL
        assert "error: Dagster's daemon ended by signal 9; the others are ended with it" in said.splitlines()
        assert ui.gone()


@pytest.mark.slow
def test_the_first_start_on_an_empty_root_makes_whole_databases_even_beside_another(tmp_path: Path) -> None:
    for number in range(3):
        with ui_of(tmp_path / str(number)) as one, ui_of(tmp_path / str(number)) as other:
            assert eventually(lambda: one.ended() or other.ended(), 60)
            served, refused = sorted((one, other), key=Ui.ended)
            assert refused.process.returncode == 2
            assert served.serves()


@pytest.mark.slow
def test_a_run_that_a_dead_process_left_is_failed_soon_after_the_start(tmp_path: Path) -> None:
    places = Places.of(tmp_path / "artifacts")
    places.prepare()
    create_instance(places)
    code = "from perseid.artifacts.owners import me\nprint(me())"
    gone = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with opened(places.dagster) as instance:
        run = instance.create_run_for_job(nothing, status=STARTED, tags={PROCESS_TAG: gone.strip()})
        with ui_of(places.root) as ui:
            assert ui.serves()
            assert eventually(lambda: instance.get_run_by_id(run.run_id).status == FAILED, 60)  # type: ignore[union-attr]


@pytest.mark.slow
def test_a_server_that_is_still_starting_ends_without_a_trace() -> None:
    starting = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert starting.stdout is not None
    starting.stdout.readline()
    end([starting])
    assert starting.communicate() == (b"", b"")


def test_a_port_is_looked_at_before_anything_is_started() -> None:
    free, other = free_ports(2)
    check_ports(free, other)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for ports, key, said in (
            ((port, free), "--port", f"port {port} cannot be used"),
            ((free, port), "--mlflow-port", f"port {port} cannot be used"),
            ((free, free), "--mlflow-port", "another port than Dagster's"),
            ((-5, free), "--port", "expected a port in [1, 65535], found -5"),
            ((free, 65536), "--mlflow-port", "found 65536"),
        ):
            with pytest.raises(UserError, match=key) as error:
                check_ports(*ports)
            assert said in str(error.value)


def test_addresses_are_told_once_and_not_before_all_of_them_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        addresses = Once((one.getsockname()[1], other.getsockname()[1]), "both")
        addresses.tell()
        assert capsys.readouterr().out == ""
        other.listen()
        addresses.tell()
        addresses.tell()
        assert capsys.readouterr().out == "both\n"
