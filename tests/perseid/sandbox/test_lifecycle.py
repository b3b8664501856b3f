"""Nothing is lost when a worker dies, nothing outlives the host, nothing grows, nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from perseid.sandbox import Limits, Sandbox
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]
HOST = """
import sys, threading, time
from perseid.sandbox import Limits, Sandbox
with Sandbox(Limits(timeout_s=60), workers=2) as sandbox:
    sandbox.run_many(["print(1)", "import heapq", "import heapq", "import sympy"])
    for tier in ("cpython", "cpython", "fast"):
        threading.Thread(target=sandbox.run, args=("while True: pass", "", tier), daemon=True).start()
    time.sleep(0.3)
    print("busy", flush=True)
    time.sleep(60)
"""


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; a dead one that nobody reaps is dead."""
    running = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                running.append(process)
    return running


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=5.0), tier="cpython", preload=()) as opened:
        yield opened


def descendants() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process.is_running()]


def test_nothing_survives_a_host_killed_in_the_middle() -> None:
    before = set(os.listdir(tempfile.gettempdir()))
    host = subprocess.Popen([sys.executable, "-c", HOST], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "busy\n"
    family = psutil.Process(host.pid).children(recursive=True)
    assert len(family) >= 5
    host.kill()
    host.wait()
    assert eventually(lambda: not alive(family)), family
    host.stdout.close()
    assert not [
        name for name in set(os.listdir(tempfile.gettempdir())) - before if "perseid" in name or "sandbox" in name
    ]


def test_a_fork_of_the_host_does_not_keep_the_servers_alive() -> None:
    code = HOST.replace(
        'print("busy", flush=True)',
        'import os\n    if os.fork() == 0: time.sleep(8); os._exit(0)\n    print("busy", flush=True)',
    )
    host = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    assert host.stdout.readline() == "busy\n"
    servers = [p for p in psutil.Process(host.pid).children() if "forkserver" in " ".join(p.cmdline())]
    assert len(servers) >= 2
    host.kill()
    host.wait()
    assert eventually(lambda: not alive(servers)), servers
    host.stdout.close()


def test_closing_ends_every_process() -> None:
    before = set(descendants())
    with Sandbox(workers=2) as sandbox:
        sandbox.run_many(["print(1)", "import heapq", "import heapq"])
        inside = set(descendants()) - before
        assert inside
    assert eventually(lambda: not alive(inside))


def test_a_worker_killed_between_executions_is_replaced_unseen(sandbox: Sandbox) -> None:
    sandbox.run("print(1)")
    os.kill(sandbox.worker_pids()[0], signal.SIGKILL)
    assert sandbox.run("print(2)").stdout == "2\n"


def test_a_worker_killed_during_an_execution_costs_nothing_but_time(sandbox: Sandbox) -> None:
    sandbox.run("print(1)")
    server = sandbox.worker_pids()[0]
    threading.Timer(0.3, os.kill, (server, signal.SIGKILL)).start()
    execution = sandbox.run("import time\ntime.sleep(0.6)\nprint('done')")
    assert (execution.status, execution.stdout) == ("ok", "done\n")


def test_a_program_whose_workers_keep_dying_is_a_sandbox_error_and_no_verdict(sandbox: Sandbox) -> None:
    sandbox.run("print(1)")
    stop = threading.Event()

    def assassin() -> None:
        while not stop.is_set():
            for pid in sandbox.worker_pids():
                os.kill(pid, signal.SIGKILL)
            stop.wait(0.2)

    thread = threading.Thread(target=assassin)
    thread.start()
    execution = sandbox.run("import time\ntime.sleep(4)")
    stop.set()
    thread.join()
    assert execution.status == "sandbox_error"
    assert sandbox.run("print(2)").stdout == "2\n"


def test_a_child_killed_from_outside_is_run_again(sandbox: Sandbox) -> None:
    sandbox.run("print(1)")
    server = psutil.Process(sandbox.worker_pids()[0])

    def kill_youngest() -> None:
        youngest = max(server.children(recursive=True), key=lambda process: process.create_time())
        youngest.kill()

    threading.Timer(0.3, kill_youngest).start()
    execution = sandbox.run("import time\ntime.sleep(0.6)\nprint('done')")
    assert (execution.status, execution.stdout) == ("ok", "done\n")


def test_many_threads_share_one_sandbox() -> None:
    with Sandbox(Limits(timeout_s=10), workers=2, preload=()) as sandbox:
        found: dict[int, str] = {}

        def work(number: int) -> None:
            tier = "cpython" if number % 2 else "fast"
            found[number] = sandbox.run(f"print({number})", tier=tier).stdout  # type: ignore[arg-type]

        threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {number: f"{number}\n" for number in range(40)}


def figures(sandbox: Sandbox) -> tuple[int, int, int, int]:
    """Descriptors of the host, descriptors and resident bytes and children of the servers."""
    servers = [psutil.Process(pid) for pid in sandbox.worker_pids()]
    family = [*servers, *(below for server in servers for below in server.children(recursive=True))]
    return (
        psutil.Process().num_fds(),
        sum(process.num_fds() for process in family),
        max(process.memory_info().rss for process in family),
        len(family),
    )


def mounts(sandbox: Sandbox) -> int:
    server = psutil.Process(sandbox.worker_pids()[0])
    inner = (server.children() or [server])[0]
    return len(Path(f"/proc/{inner.pid}/mounts").read_text().splitlines())


@pytest.mark.parametrize("num_runs", [300, pytest.param(3_000, marks=pytest.mark.slow)])
def test_executions_in_a_row_leave_no_trace(sandbox: Sandbox, num_runs: int) -> None:
    code = "open('x', 'w').write('y' * 1000) if False else print(len([0] * 1000))"
    for _ in range(50):
        sandbox.run(code)
    before, mounted = figures(sandbox), mounts(sandbox)
    for number in range(num_runs):
        execution = sandbox.run(code if number % 10 else "raise ValueError(1)")
        assert execution.status == ("ok" if number % 10 else "error")
    after = figures(sandbox)
    assert (after[0], after[1], after[3]) == (before[0], before[1], before[3])
    assert after[2] - before[2] < 1 << 20
    assert mounts(sandbox) == mounted


def test_a_typical_program_imports_nothing_new_in_its_child() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\n"
        "import math, random, heapq, itertools, collections, fractions, decimal, statistics, json, re, functools\n"
        "import sympy, numpy as np\nfrom sympy import symbols, solve, integrate, sin, Matrix, Rational, latex\n"
        "x = symbols('x')\nsolve(x**3 - x, x), integrate(x * sin(x), x), Matrix([[1, 2], [3, 4]]).inv(), latex(x / 3)\n"
        "np.random.rand(3).sum(), np.linalg.det(np.eye(2)), random.random(), sympy.factorint(360)\n"
        "print(sorted(set(sys.modules) - before))"
    )
    with Sandbox(tier="cpython") as sandbox:
        assert sandbox.run(code).stdout == "[]\n"


@pytest.mark.slow
def test_what_programs_draw_at_random_is_the_same_every_time() -> None:
    code = "import random, numpy\nprint(random.random(), numpy.random.rand(), hash('x'))"
    with Sandbox(tier="cpython", workers=2) as sandbox:
        assert len({sandbox.run(code).stdout for _ in range(4)}) == 1
