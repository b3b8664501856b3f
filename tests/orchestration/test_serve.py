"""`ui`: real servers, on loopback alone, all of which go with it."""

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from models.engines.guard import marked
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
MARK = "PERSEID_TEST_UI"


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


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_servers_answer_and_end_with_the_command(tmp_path: Path, number: signal.Signals) -> None:
    port, mlflow_port = free_ports(2)
    mark = f"{MARK}={os.getpid()}-{number.name}"
    command = [sys.executable, "-m", "orchestration", "ui", "--root", str(tmp_path / "artifacts")]
    # As a shell starts it in the background: there SIGINT is ignored.
    ui = subprocess.Popen(
        [*command, "--port", str(port), "--mlflow-port", str(mlflow_port)],
        cwd=ROOT,
        env=os.environ | dict([mark.split("=")]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert eventually(lambda: answers(f"http://127.0.0.1:{port}/server_info"), 120)
        assert eventually(lambda: answers(f"http://127.0.0.1:{mlflow_port}/health"), 120)
        ui.send_signal(number)
        assert ui.wait(60) == 0
        assert eventually(lambda: marked(mark.encode()) == [], 60)
    finally:
        for pid in marked(mark.encode()):
            os.kill(pid, signal.SIGKILL)
        ui.wait()
