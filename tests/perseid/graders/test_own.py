"""The user's own graders: real files in real processes, and every way in which they fail."""

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from perseid.errors import UserError
from perseid.graders.own import MAX_BYTES, Own, OwnGrader

ROOT = Path(__file__).resolve().parents[3]
SAME = "def grade(question, gold, answers):\n    return [float(answer == gold) for answer in answers]\n"
Make = Callable[..., OwnGrader]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Own]:
    def own(source: str | bytes, name: str = "grade.py", **settings: Any) -> Own:
        path = tmp_path / name
        path.write_bytes(source.encode() if isinstance(source, str) else source)
        return Own(python=str(path), **settings)

    return own


@pytest.fixture
def make(write: Callable[..., Own]) -> Iterator[Make]:
    made = []

    def grader(source: str, **settings: Any) -> OwnGrader:
        made.append(OwnGrader("mine", write(source, **settings)))
        return made[-1]

    yield grader
    for each in made:
        each.close()


def body(lines: str) -> str:
    """A grader of this body; `answers` that are "bad" make it do what is wanted."""
    indented = "\n".join(f"        {line}" for line in lines.splitlines())
    start = "import os, sys, time, math, signal\n\ndef grade(question, gold, answers):\n"
    return f"{start}    if 'bad' in answers:\n{indented}\n    return [a == gold for a in answers]\n"


def test_numbers_are_right_from_a_value_on_and_none_cannot_tell(make: Make, asked: Any) -> None:
    graded = make("def grade(q, g, answers):\n    return [1, 0.99, True, False, None, -3, 7.5]")
    assert asyncio.run(graded.grade(asked("x", *"abcdefg"))) == [True, False, True, False, None, False, True]
    lenient = make("def grade(q, g, answers):\n    return (0.5, 0.49)", right_from=0.5)
    assert asyncio.run(lenient.grade(asked("x", *"ab"))) == [True, False]


def test_it_is_given_question_gold_and_the_answers_of_one_problem(make: Make, asked: Any) -> None:
    grader = make(
        "def grade(question, gold, answers):\n    return [question == 'Ü?' and gold == {'a': [1, None]}] * len(answers)"
    )
    gold = {"a": [1, None]}
    both = [*asked(gold, "1", "2", question="Ü?"), *asked(gold, "\ud800", question="other", name="q")]
    assert asyncio.run(grader.grade(both)) == [True, True, False]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (line 5)"),
        ("raise SystemExit('out')", "SystemExit: out (line 5)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt (line 5)"),
        ("return [1.0] * (len(answers) + 1)", "expected 1 values, it returned 2"),
        ("return []", "expected 1 values, it returned 0"),
        ("return 1.0", "expected a list, it returned float"),
        ("return (1.0 for a in answers)", "expected a list, it returned generator"),
        ("return ['1' if a == 'bad' else a == gold for a in answers]", "expected numbers or None, it returned str"),
        ("return [[] if a == 'bad' else a == gold for a in answers]", "expected numbers or None, it returned list"),
        ("return [math.nan if a == 'bad' else a == gold for a in answers]", "expected finite numbers, it returned nan"),
        ("return [math.inf if a == 'bad' else a == gold for a in answers]", "expected finite numbers, it returned inf"),
        ("os._exit(0)", "it ended with status 0"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "it was ended by signal 9"),
        ("os.killpg(0, signal.SIGTERM)", "it was ended by signal 15"),
        ("os.close(3); os.closerange(0, 64); return [1.0] * len(answers)", "it "),
        ("for fd in range(3, 16):\n    try: os.write(fd, b'1\\n')\n    except OSError: pass", "it "),
        ("import ctypes; ctypes.string_at(0)", "it was ended by signal 11"),
        ("def deep(): deep()\ndeep()", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_what_fails_is_no_verdict_and_is_told_once(
    make: Make, asked: Any, caplog: pytest.LogCaptureFixture, fault: str, reason: str
) -> None:
    grader = make(body(fault), timeout_s=20.0)
    verdicts = asyncio.run(grader.grade(asked("x", "bad", "x", "y")))
    assert verdicts == [None, True, False]  # and those asked beside it have theirs
    assert asyncio.run(grader.grade(asked("x", "bad"))) == [None]
    told = [record.getMessage() for record in caplog.records]
    # Once for each way to fail: of what is written to every descriptor, one line or two come in before it is ended.
    assert len(set(told)) == len(told) <= (2 if "os.write" in fault else 1)
    for line in told:
        assert line.startswith(f"graders.mine: of an answer it cannot be told whether it is right: {reason}")
    assert told


@pytest.mark.parametrize(
    "hang",
    ["time.sleep(1000)", "while True: pass", "import re; re.match('(a+)+$', 'a' * 64 + 'b')", "signal.pause()"],
)
def test_what_hangs_is_ended_and_the_next_is_graded(make: Make, asked: Any, hang: str) -> None:
    grader = make(body(hang), timeout_s=1.0)
    grader.start()
    started = time.monotonic()
    assert asyncio.run(grader.grade(asked("x", "bad"))) == [None]
    assert time.monotonic() - started < 60.0
    assert asyncio.run(grader.grade(asked("x", "x"))) == [True]


@pytest.mark.parametrize(
    "fork",
    ["os.fork()", "if os.fork() == 0: time.sleep(1000)", "[os.fork() for _ in range(4)]", "if os.fork(): os._exit(0)"],
)
def test_a_fork_answers_nothing_and_is_gone_with_its_parent(make: Make, asked: Any, fork: str) -> None:
    grader = make(body(f"{fork}\nreturn [1.0] * len(answers)"), timeout_s=20.0)
    grader.start()
    group = grader._child.process.pid  # type: ignore[union-attr]
    verdicts = [asyncio.run(grader.grade(asked("x", answer)))[0] for answer in ("x", "bad", "x", "y")]
    assert verdicts in ([True, True, True, False], [True, None, True, False])
    grader.close()
    eventually_gone(group)


def eventually_gone(group: int) -> None:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline and any(of_group(group)):
        time.sleep(0.05)
    assert not any(of_group(group))


def of_group(group: int) -> Iterator[int]:
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                yield process.pid
        except (OSError, psutil.Error):
            continue


def test_what_it_prints_is_let_go(make: Make, asked: Any, capfd: pytest.CaptureFixture[str]) -> None:
    noisy = (
        "print('x' * 10**7, flush=True); print('e' * 10**6, file=sys.stderr); os.write(1, b'1\\n'); os.system('echo 1')"
    )
    grader = make(body(f"{noisy}\nreturn [1.0] * len(answers)"))
    assert asyncio.run(grader.grade(asked("x", "bad", "y"))) == [True, True]
    assert capfd.readouterr() == ("", "")


def test_it_has_nothing_to_read_and_inherits_no_descriptor(make: Make, asked: Any, tmp_path: Path) -> None:
    source = """
import os, sys
def grade(question, gold, answers):
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    inherited = [link for link in links if os.path.lexists(link) and "held" in os.readlink(link)]
    return [sys.stdin.read() == "" and not inherited]
"""
    with open(tmp_path / "held", "w") as held:
        os.set_inheritable(held.fileno(), True)
        assert asyncio.run(make(source).grade(asked("x", "x"))) == [True]


def test_answers_of_any_size_pass(make: Make, asked: Any) -> None:
    answers = ["y" * 3_000_000, "x" * 3_000_000]
    assert asyncio.run(make(SAME).grade(asked("x" * 3_000_000, *answers))) == [False, True]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import nothing_of_this_name\ndef grade(q, g, a): return [1]",
            "No module named 'nothing_of_this_name' (line 1)",
        ),
        ("1 / 0\ndef grade(q, g, a): return [1]", "ZeroDivisionError: division by zero (line 1)"),
        ("import os\nos._exit(7)\ndef grade(q, g, a): return [1]", "it ended with status 7"),
        ("grade = 5\ndel grade", "KeyError: 'grade'"),
    ],
)
def test_one_that_cannot_be_loaded_is_said_before_anything_is_asked(make: Make, source: str, reason: str) -> None:
    with pytest.raises(UserError) as found:
        make(source).start()
    assert "graders.mine.python: expected a grader that can be loaded: " in str(found.value)
    assert reason in str(found.value)


def test_a_grader_that_no_longer_loads_tells_of_nothing(make: Make, asked: Any, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    source = f"import os\nif os.path.exists({str(flag)!r}): raise OSError('gone')\nopen({str(flag)!r}, 'w')\n" + body(
        "os._exit(1)"
    )
    assert asyncio.run(make(source).grade(asked("x", "x", "bad"))) == [None, None]


def test_what_runs_is_what_was_read(make: Make, asked: Any, tmp_path: Path) -> None:
    grader = make(SAME)
    (tmp_path / "grade.py").write_text("def grade(q, g, answers): return [1.0] * len(answers)")
    assert asyncio.run(grader.grade(asked("x", "y"))) == [False]


def test_its_key_is_that_of_its_content_and_of_what_is_right(write: Callable[..., Own]) -> None:
    own = write(SAME)
    assert own.key == write(SAME, name="elsewhere.py", timeout_s=99.0).key
    assert len({own.key, write(SAME + "\n").key, write(SAME, right_from=0.5).key}) == 3
    assert OwnGrader("a", own).key == OwnGrader("b", own).key == f"own {own.key}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", "expected a function grade(question, gold, answers), found none in "),
        (
            "def f():\n    def grade(q, g, a): pass",
            "expected a function grade(question, gold, answers), found none in ",
        ),
        ("def grade(q): pass", "expected a function grade(question, gold, answers), found one of other arguments"),
        ("def grade(q, g, a, x): pass", "expected a function grade(question, gold, answers), found one of other"),
        ("def grade(q, g, a, *, x): pass", "expected a function grade(question, gold, answers), found one of other"),
        ("async def grade(q, g, a): pass", "expected a function grade(question, gold, answers), found an asynchronous"),
        ("def grade(q:", "expected Python, found '(' was never closed in line 1"),
        ("def grade(q, g, a):\nreturn", "expected Python, found expected an indented block"),
        ("a\0b", "expected Python, found source code string cannot contain null bytes"),
        ("(" * 5000, "expected Python, found too many nested parentheses in line 1"),
        (b"\xff\xfe", "expected text in UTF-8"),
        (b"#" * (MAX_BYTES + 1), "expected a file of at most 1 MiB"),
    ],
)
def test_a_file_that_is_no_grader_is_said_without_running_it(
    write: Callable[..., Own], tmp_path: Path, source: str | bytes, expected: str
) -> None:
    found = write(source).unreadable(tmp_path)
    assert found is not None
    assert found[0] == "python"
    assert found[1].startswith(expected)


@pytest.mark.parametrize(
    "source",
    [
        "def grade(*everything): pass",
        "def grade(q, g, a, more=1): pass",
        "grade = lambda q, g, a: []",
        "try:\n    from x import grade\nexcept ImportError:\n    grade = None",
        "if True:\n    import x as grade",
        "class grade:\n    pass",
        "\ufeffdef grade(q, g, a): return '\\d'",
    ],
)
def test_what_may_be_a_grader_is_read(write: Callable[..., Own], tmp_path: Path, source: str) -> None:
    assert write(source).unreadable(tmp_path) is None


@pytest.mark.parametrize("path", ["missing.py", "/dev/zero", ".", "a\0b"])
def test_a_path_that_leads_to_no_file_is_said(tmp_path: Path, path: str) -> None:
    found = Own(python=path).unreadable(tmp_path)
    assert found is not None
    assert found[1].startswith("expected a Python file")


SCRIPT = """
print("once", flush=True)
import asyncio
from perseid.graders import Asked
from perseid.graders.own import Own, OwnGrader
from perseid.problems import Gold, Problem
grader = OwnGrader("mine", Own(python="grade.py"))
print(asyncio.run(grader.grade([Asked(Problem("p", "s", "mine", "?"), Gold("p", "x"), "x")])), flush=True)
"""


def test_a_script_without_a_main_guard_runs_once_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "grade.py").write_text(SAME)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("once\n[True]\n", "")


@pytest.mark.parametrize("hang", ["pass", "import time; time.sleep(1000)"])
def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path, hang: str) -> None:
    (tmp_path / "grade.py").write_text(SAME.replace("    return", f"    print(1); {hang}\n    return"))
    (tmp_path / "script.py").write_text(SCRIPT + "import time; time.sleep(1000)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = psutil.Popen(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout.readline() == "once\n"
    deadline = time.monotonic() + 60.0
    while not (children := parent.children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if hang == "pass":
        assert parent.stdout.readline() == "[True]\n"
    else:
        time.sleep(1.0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_to_close_ends_a_call_under_way(make: Make, asked: Any, caplog: pytest.LogCaptureFixture) -> None:
    grader = make(body("time.sleep(1000)"), timeout_s=1000.0)
    grader.start()

    async def closed() -> list[Any]:
        task = asyncio.create_task(grader.grade(asked("x", "bad", "x")))
        await asyncio.sleep(0.3)
        await asyncio.to_thread(grader.close)
        return await task

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(closed()) == [None, None]
    assert caplog.records == []
