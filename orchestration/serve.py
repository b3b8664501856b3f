"""`ui`: three servers on loopback over one instance, ended together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from orchestration.places import REPOSITORY, Places, sqlite_uri
from perseid.artifacts.addresses import plain

GRACE_S = 15.0


def serve(places: Places, port: int, mlflow_port: int) -> int:
    """Run until Ctrl-C, SIGTERM or the end of the terminal, or until one of them ends; then end the others.

    Exit status: that of the server which ended by itself, 0 otherwise.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    places.prepare()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(plain(places.dagster)),
        "PERSEID_ROOT": str(places.root),
        "PERSEID_DAGSTER_URL": f"http://127.0.0.1:{port}",
        "PERSEID_MLFLOW_URL": f"http://127.0.0.1:{mlflow_port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes for scoring traces, of which there are none
        "DO_NOT_TRACK": "1",
    }
    print(f"Dagster: http://127.0.0.1:{port}   MLflow: http://127.0.0.1:{mlflow_port}   (Ctrl-C ends both)", flush=True)
    running = [start(command, environment) for command in commands(places, port, mlflow_port)]
    try:
        while all(process.poll() is None for process in running):
            time.sleep(0.5)
        return next(process.returncode for process in running if process.poll() is not None) or 1
    except KeyboardInterrupt:
        return 0
    finally:
        end(running)


def commands(places: Places, port: int, mlflow_port: int) -> list[list[str]]:
    store = sqlite_uri(places.mlflow / "mlflow.db")
    mlflow = ["mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(mlflow_port)]
    return [
        [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
        [sys.executable, "-m", *mlflow, "--workers", "1", "--artifacts-destination", str(places.mlflow / "artifacts")],
    ]


def start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True)


def end(running: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Ask, wait, then insist; each server leads a process group of its own, of which nothing is left."""
    for process in running:
        signal_group(process.pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.1, deadline - time.monotonic()))
        signal_group(process.pid, signal.SIGKILL)


def signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)
