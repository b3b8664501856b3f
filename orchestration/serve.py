"""`ui`: three servers on loopback over one instance, ended together, whatever ends this process.

A guardian kills every process below them once this one is gone, by whatever means; the servers themselves also die with
it by the kernel's word, where there is one. One `ui` serves a root at a time: two daemons would both start runs.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from models.engines import guard
from orchestration.dead_runs import bury
from orchestration.instance import create_instance, opened
from orchestration.places import REPOSITORY, Places, sqlite_uri
from orchestration.tracking import tracking_of
from perseid.artifacts.addresses import plain
from perseid.artifacts.owners import me, owner_in
from perseid.errors import UserError

if TYPE_CHECKING:
    import dagster as dg

GRACE_S = 15.0
BURY_S = 10.0  # between two looks for dead runs
MARK = "PERSEID_UI"  # the environment variable by which the guardian knows what to end
PR_SET_PDEATHSIG = 1
Process = subprocess.Popen[bytes]


def serve(places: Places, port: int, mlflow_port: int) -> int:
    """Run until Ctrl-C, SIGTERM or the end of the terminal, or until one of them ends; then end the others.

    Exit status: that of the server which ended by itself, 128 + the signal that ended it, 0 otherwise.
    Raises `UserError` before anything is started.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    check_ports(port, mlflow_port)
    places.prepare()
    try:
        with alone(places) as lock:
            create_instance(places)
            tracking_of(places).link.tell(lambda client: None)  # MLflow's database, made by one process too
            return served(places, port, mlflow_port, lock)
    except KeyboardInterrupt:
        return 0


def served(places: Places, port: int, mlflow_port: int, lock: IO[str]) -> int:
    urls = {"PERSEID_DAGSTER_URL": f"http://127.0.0.1:{port}", "PERSEID_MLFLOW_URL": f"http://127.0.0.1:{mlflow_port}"}
    with guarded(lock) as (guardian, mark), opened(places.dagster) as instance:
        environment = environment_of(places) | urls | mark
        named: dict[str, Process] = {}
        try:
            for name, command in commands(places, port, mlflow_port).items():
                named[name] = start(command, environment)
            shown = (
                f"Dagster: {urls['PERSEID_DAGSTER_URL']}   MLflow: {urls['PERSEID_MLFLOW_URL']}   (Ctrl-C ends both)"
            )
            return watched(
                {**named, "the guardian of the servers": guardian}, instance, Once((port, mlflow_port), shown)
            )
        finally:
            end(list(named.values()))


@dataclass
class Once:
    """Prints the addresses as soon as there is somebody to answer at each of them, and once."""

    ports: Sequence[int]
    line: str
    told: bool = False

    def tell(self) -> None:
        if not self.told and all(map(answers, self.ports)):
            self.told = True
            print(self.line, flush=True)


def answers(port: int) -> bool:
    """Whether something listens there on loopback."""
    with socket.socket() as one:
        one.settimeout(1.0)
        return one.connect_ex(("127.0.0.1", port)) == 0


def watched(running: dict[str, Process], instance: "dg.DagsterInstance", addresses: Once) -> int:
    """Until one of them ends: its status, and a line that says so. Meanwhile dead runs are found."""
    looked = -BURY_S
    while True:
        for name, process in running.items():
            if (status := process.poll()) is not None:
                how = f"with status {status}" if status >= 0 else f"by signal {-status}"
                print(f"error: {name} ended {how}; the others are ended with it", file=sys.stderr)
                return 128 - status if status < 0 else status or 1
        addresses.tell()
        if time.monotonic() - looked >= BURY_S:
            with suppress(Exception):  # a locked database: the next look will do
                bury(instance)
            looked = time.monotonic()
        time.sleep(0.5)


def check_ports(port: int, mlflow_port: int) -> None:
    """Raises `UserError` unless both can be listened on."""
    for option, number in (("--port", port), ("--mlflow-port", mlflow_port)):
        if not 1 <= number <= 65535:
            raise UserError("ui", option, f"expected a port in [1, 65535], found {number}")
    if port == mlflow_port:
        raise UserError("ui", "--mlflow-port", f"expected another port than Dagster's, found {port} for both")
    for option, number in (("--port", port), ("--mlflow-port", mlflow_port)):
        try:
            with socket.socket() as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                one.bind(("127.0.0.1", number))
                one.listen()
        except OSError as error:
            raise UserError("ui", option, f"port {number} cannot be used ({error.strerror}); name another") from error


@contextmanager
def alone(places: Places) -> Iterator[IO[str]]:
    """Hold the instance against a second `ui`. The guardian of a dead one holds it until it has ended the servers."""
    with (places.dagster / ".ui.lock").open("a+") as lock:
        deadline = time.monotonic() + GRACE_S
        while not locked(lock):
            lock.seek(0)
            owner = owner_in(lock.read().strip())
            if time.monotonic() > deadline or (owner is not None and not owner.dead):
                who = f"process {owner.process} of {owner.host}" if owner else "another process"
                raise UserError(places.dagster, "ui", f"is served already, by {who}; expected one ui a root")
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(me()))
        lock.flush()
        yield lock


def locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def guarded(lock: IO[str]) -> Iterator[tuple[Process, dict[str, str]]]:
    """The guardian, which holds the lock while it lives, and what in its environment puts a process in its hands."""
    mark, folder = {MARK: uuid.uuid4().hex}, tempfile.mkdtemp(prefix="perseid-ui-")
    command = [sys.executable, "-I", "-S", guard.__file__, f"{MARK}={mark[MARK]}", folder]
    guardian = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, pass_fds=[lock.fileno()])
    try:
        yield guardian, mark
    finally:
        guardian.communicate()
        shutil.rmtree(folder, ignore_errors=True)  # if the guardian was killed


def environment_of(places: Places) -> dict[str, str]:
    return {
        **os.environ,
        "DAGSTER_HOME": str(plain(places.dagster)),
        "PERSEID_ROOT": str(places.root),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for scoring traces, of which there are none
        "DO_NOT_TRACK": "1",
    }


def commands(places: Places, port: int, mlflow_port: int) -> dict[str, list[str]]:
    store = sqlite_uri(places.mlflow / "mlflow.db")
    mlflow = ["mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(mlflow_port)]
    python = [sys.executable, "-m"]
    return {
        "Dagster's web server": [
            *(*python, "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port))
        ],
        "Dagster's daemon": [*python, "dagster._daemon", "run", "-w", "workspace.yaml"],
        "MLflow": [*python, *mlflow, "--workers", "1", "--artifacts-destination", str(places.mlflow / "artifacts")],
    }


def start(command: list[str], environment: dict[str, str]) -> Process:
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, start_new_session=True, preexec_fn=dying_with_parent()
    )


def dying_with_parent() -> Callable[[], None]:
    """What a child calls to be killed when its parent dies, before it can have a guardian."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(running: Sequence[Process]) -> None:
    """Ask, wait, then insist; each server leads a process group of its own, of which nothing is left.

    Not by SIGINT: one that is still starting would print where it was.
    """
    for process in running:
        signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        signal_group(process.pid, signal.SIGKILL)


def signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
