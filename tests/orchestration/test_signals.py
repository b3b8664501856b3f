"""A command that is told to end says so in one line, at any moment, and its status is 128 + the signal's number."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perseid.artifacts import Store
from perseid.check import check

ROOT = Path(__file__).resolve().parents[2]
TOLD = {
    signal.SIGINT: "error: interrupted; the same command goes on from here\n",
    signal.SIGTERM: "error: ended by SIGTERM; the same command goes on from here\n",
}
COMMAND = """
import signal, sys, time
from orchestration import signals

def work():
{}

print("ready", flush=True)
signals.run(work)
"""


def started(*command: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def told(work: str, *numbers: signal.Signals, apart_s: float = 0.0) -> tuple[int, str]:
    """The status and the error output of a process that works and is sent signals."""
    lines = "\n".join(f"    {line}" for line in work.splitlines())
    with started("-c", COMMAND.format(lines)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "working\n"
        for number in numbers:
            os.kill(process.pid, number)
            time.sleep(apart_s)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors


SLEEPS = "print('working', flush=True)\ntime.sleep(60)"
SWALLOWS = """
print("working", flush=True)
try:
    time.sleep(60)
except BaseException:
    pass"""
OWN_HANDLER = """
signal.signal(signal.SIGINT, lambda *_: None)
print("working", flush=True)
for _ in range(600):
    time.sleep(0.1)
    signals.check()"""
BREAKS = """
print("working", flush=True)
try:
    time.sleep(60)
finally:
    raise RuntimeError("what was interrupted breaks")"""
DEAF = """
print("working", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass"""


@pytest.mark.parametrize("work", [SLEEPS, SWALLOWS, BREAKS], ids=["raises", "swallows", "breaks"])
@pytest.mark.parametrize("number", TOLD)
def test_whatever_becomes_of_the_exception_it_is_one_line_and_its_status(number: signal.Signals, work: str) -> None:
    assert told(work, number) == (128 + number, TOLD[number])


def test_a_signal_that_a_library_caught_with_a_handler_of_its_own_is_not_lost() -> None:
    assert told(OWN_HANDLER, signal.SIGINT) == (130, TOLD[signal.SIGINT])


def test_who_does_not_end_is_ended_when_told_again() -> None:
    assert told(DEAF, signal.SIGINT, signal.SIGINT, apart_s=1.2) == (130, TOLD[signal.SIGINT])


def test_a_forked_child_that_is_ended_does_not_end_its_parent() -> None:
    work = """
print("working", flush=True)
import os
child = os.fork()
if child == 0:
    time.sleep(60)
time.sleep(0.2)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
time.sleep(0.2)
signals.check()"""
    assert told(work) == (0, "")


def test_a_status_and_a_trace_come_out_as_they_are() -> None:
    assert told("print('working', flush=True)\nsys.exit(3)") == (3, "")
    status, errors = told("print('working', flush=True)\nraise RuntimeError('a fault of ours')")
    assert (status, errors.splitlines()[-1]) == (1, "RuntimeError: a fault of ours")


OTHERS = [("query", "--json"), ("status", "smoke"), ("--help",)]


@pytest.mark.parametrize("arguments", [("query",), *(pytest.param(a, marks=pytest.mark.slow) for a in OTHERS)])
def test_a_reader_that_went_away_is_no_error(arguments: tuple[str, ...]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "orchestration", *arguments],
        cwd=ROOT,
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.slow
@pytest.mark.parametrize("number", TOLD)
def test_told_at_random_moments_an_evolve_ends_with_one_line_and_a_whole_store(
    tmp_path: Path, number: signal.Signals
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    for _ in range(10):
        with started("-m", "orchestration", "evolve", "smoke", "--root", str(tmp_path)) as process:
            time.sleep(wait_s := moments.uniform(0.3, 12.0))
            os.killpg(process.pid, number)
            _, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (128 + number, TOLD[number]), f"seed {seed}, after {wait_s:.2f} s"
    assert check(Store(tmp_path)).faults == []
