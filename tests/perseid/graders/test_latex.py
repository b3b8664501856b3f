"""LaTeX, compared by the real process; how it is lost is tried on it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from perseid.graders import BUILT_IN, Asked, equivalent, latex
from perseid.problems import Gold, Problem

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


def open_pipes() -> set[str]:
    """Pipes and sockets of this process, as the kernel names them."""
    links = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own is gone by now
            links.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {link for link in links if link.startswith(("pipe:", "socket:"))}


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    latex.verdict.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left() -> Iterator[None]:
    before, pipes = set(psutil.Process().children()), open_pipes()
    yield
    latex.comparer.close()
    assert set(psutil.Process().children()) <= before
    assert open_pipes() <= pipes


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{1}{2}", "0.5"),
        (r"$\frac{1}{2}$", r"\frac12"),
        (r"$x^{2}+2x+1$", r"(x+1)^{2}"),
        (r"\frac{8}{4}", "2"),
        ("24.0", "24"),
        ("no mathematics", "no mathematics"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
        (r"$1.2 \times 10^{3}$", "1200"),
        ("x = 5", "5"),
        ("$hello$", "hello"),
        ("ba", "ab"),
        ("x = -5", "-5"),
        (r"45^\circ", "45"),
        (r"5\text{ cm}^2", "5"),
        ("1{,}234", "1234"),
        ("1 234 567", "1,234,567"),
        (r"\$40", "$40"),
        ("1⁄4", r"\frac{1}{4}"),
        ("x²", "x^2"),
        (r"5\text{ min}", r"5 \text{ minutes}"),
        (r"5\text{ cm}", "5"),
        (r"\{2, 1\}", r"\{1, 2\}"),
    ],
)
def test_the_same_mathematics_is_right(answer: str, gold: str) -> None:
    assert equivalent(answer, gold, "math") is True


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        (r"\frac{1}{3}", r"\frac{1}{2}"),
        ("0.333333", r"\frac{1}{3}"),
        ("1.41421356237310", r"\sqrt{2}"),
        (r"50\%", r"\frac{1}{2}"),
        ("$977$, or maybe $5$", "5"),
        ("olleh", "hello"),
        (r"$\text{olleh}$", r"\text{hello}"),
        ("on", "no"),
        ("3!", "6"),
        ("2^{11}", "2,048"),
        (r"1 + \$4", "5"),
        (r"\gcd(168, 360)", "24"),
        (r"$\sqrt{16}$", "4"),
        (r"\log_2 8", "3"),
        ("3×4", "12"),
        ("7 + 5", "12"),
        ("2^{2^3}", "256"),
        (r"\sum_{n=1}^{10} n", "55"),
        ("r", "R"),
        ("2516_9", "2516_8"),
        ("(1, 2)", r"\{1, 2\}"),
        (r"30\text{ seconds}", r"30\text{ minutes}"),
        (r"5\text{ pears}", r"5\text{ apples}"),
        ("1,23", "123"),
        ("$", "1"),
        (r"\frac{", "1"),
        ("", "1"),
        ("\ud800", "1"),
        ("1" * 5000, r"\frac{1}{2}"),
    ],
)
def test_other_mathematics_and_none_is_wrong(answer: str, gold: str) -> None:
    assert equivalent(answer, gold, "math") is False


@pytest.mark.parametrize("gold", [r"\frac{", r"\frac{1}{2}" + " " + "1" * 5000])
def test_beside_a_gold_that_cannot_be_read_nothing_can_be_told(gold: str) -> None:
    assert equivalent("1", gold, "math") is None


def test_what_takes_too_long_cannot_be_told_is_not_remembered_and_the_next_is_graded() -> None:
    assert [equivalent("$3000000!$", r"\frac{1}{2}"), equivalent(r"\frac{8}{4}", "2")] == [None, True]
    assert latex.verdict.cache_info().currsize == 1


def test_the_limit_is_of_the_process_s_own_seconds() -> None:
    assert equivalent(r"\frac{8}{4}", "2")
    assert latex.comparer.process is not None
    process = psutil.Process(latex.comparer.process.pid)
    process.suspend()
    threading.Timer(latex.LIMIT_CPU_S + 1.0, process.resume).start()
    assert equivalent(r"\frac{9}{3}", "3") is True


def test_a_process_that_died_is_replaced_and_takes_no_verdict_with_it() -> None:
    assert equivalent(r"\frac{8}{4}", "2")
    assert latex.comparer.process is not None
    latex.comparer.process.send_signal(signal.SIGKILL)
    latex.comparer.process.wait()
    assert equivalent(r"\frac{9}{3}", "3") is True


def test_a_process_that_takes_too_much_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equivalent(r"\frac{8}{4}", "2")
    monkeypatch.setattr(latex.comparer, "_limit_bytes", 1024**2)
    assert equivalent("$3000000!$", r"\frac{1}{2}") is None
    monkeypatch.undo()
    assert equivalent(r"\frac{9}{3}", "3") is True


def test_any_thread_may_ask() -> None:
    verdicts: list[bool | None] = []
    asked = [(rf"\frac{{{n * n}}}{{{n}}}", str(n)) for n in range(2, 6)]
    threads = [threading.Thread(target=lambda p=pair: verdicts.append(equivalent(*p))) for pair in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == [True] * 4


def test_a_fork_asks_a_process_of_its_own() -> None:
    assert equivalent(r"\frac{8}{4}", "2")
    child = os.fork()
    if child == 0:
        right = equivalent(r"\frac{16}{4}", "4") is True
        latex.comparer.close()
        os._exit(0 if right else 1)
    assert equivalent(r"\frac{9}{3}", "3") is True
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_fork_of_who_has_graded_grades_too() -> None:
    """Threads do not live on in a fork."""

    async def graded() -> list[bool | None]:
        problem = Problem("p", "s", "math", "?")
        return await BUILT_IN["math"].grade([Asked(problem, Gold("p", "2"), r"\frac{8}{4}")])

    assert asyncio.run(graded()) == [True]
    child = os.fork()
    if child == 0:
        right = asyncio.run(graded()) == [True]
        latex.comparer.close()
        os._exit(0 if right else 1)
    deadline = time.monotonic() + 60.0
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 0


SCRIPT = r"""
print("once")
from perseid.graders import equivalent
print(equivalent(r"$\frac{1}{2}$", "0.5"), flush=True)
"""


def test_a_script_without_a_main_guard_runs_once_and_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("once\nTrue\n", "")


def test_the_process_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + "import time; time.sleep(1000)\n", encoding="utf-8")
    parent = psutil.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert [parent.stdout.readline() for _ in range(2)] == ["once\n", "True\n"]
    (child,) = parent.children()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=20)
    assert alive == []
