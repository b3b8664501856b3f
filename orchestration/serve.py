"""`ui`: three servers on loopback over one instance, ended together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from orchestration.places import REPOSITORY, Places

GRACE_S = 15.0


def serve(places: Places, port: int, mlflow_port: int) -> int:
    """Run until Ctrl-C, or until one of them ends; then end the others. Exit status: 0 after Ctrl-C."""
    places.prepare()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(places.dagster),
        "PERSEID_ROOT": str(places.root),
        "PERSEID_DAGSTER_URL": f"http://127.0.0.1:{port}",
        "PERSEID_MLFLOW_URL": f"http://127.0.0.1:{mlflow_port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
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
    store = f"sqlite:///{places.mlflow / 'mlflow.db'}"
    mlflow = ["mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1", "--port", str(mlflow_port)]
    return [
        [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)],
        [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
        [sys.executable, "-m", *mlflow, "--workers", "1", "--artifacts-destination", str(places.mlflow / "artifacts")],
    ]


def start(command: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True)


def end(running: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Ask, wait, then insist; each server leads a process group of its own."""
    for process in running:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
