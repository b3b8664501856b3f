"""The sandbox's speed, each figure beside what it is compared with: `python -m benchmarks.sandbox`.

One JSON line a figure: its name, value, unit, goal, whether it was met, and what was counted. Ways that are compared
run in turn, round by round, in one process, so that a load on the machine hits all of them alike; a ratio is the median
of its rounds. `--quick` runs a fifth; `--humaneval FILE` grades the solutions of a HumanEval file (jsonl, gz) instead
of the few built in.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Limits, Sandbox, State
from perseid.sandbox.sandbox import PRELOAD
from perseid.sandbox.server import preload

TRIVIAL = "total = sum(i * i for i in range(50))\nprint(total)"
SYMPY = "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))"
ON_FULL = f"{TRIVIAL}  # not in need of sympy"
STEP = "total = total + 1\nprint(total)"
TREE_STEPS = {
    "plain": ("k = 1", "k = k * 3 + {n}\nprint(k)"),
    "light": ("import sympy\nx = sympy.symbols('x')\nk = 1", "k = k * 3 + {n}\nprint(k)"),
    "solve": ("import sympy\nx = sympy.symbols('x')\nk = 1", "k += 1\nprint(sympy.solve(x**2 - (k + {n}) * x + k, x))"),
    "integrate": (
        "import sympy\nx = sympy.symbols('x')\nk = 1",
        "k += 1\nprint(sympy.simplify(sympy.integrate(x**(k % 4) * sympy.exp({n} * x), x)))",
    ),
}
PROBLEMS = [
    (
        "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))\n",
        "is_prime",
        "def check(candidate):\n"
        + "".join(f"    assert candidate({n}) is {n in (2, 3, 5, 7, 11)}\n" for n in range(12)),
    ),
    (
        "def count(text):\n    return {c: text.count(c) for c in text}\n",
        "count",
        "def check(candidate):\n    assert candidate('aab') == {'a': 2, 'b': 1}\n    assert candidate('') == {}\n"
        "    assert candidate('abc') == {'a': 1, 'b': 1, 'c': 1}\n    assert candidate('zz') == {'z': 2}\n",
    ),
    (
        "def below(numbers, limit):\n    return all(n < limit for n in numbers)\n",
        "below",
        "def check(candidate):\n    assert candidate([1, 2, 4, 10], 100)\n    assert not candidate([1, 20, 4, 10], 5)\n"
        "    assert candidate([1, 8, 4, 10], 11)\n    assert not candidate([1, 8, 4, 10], 10)\n",
    ),
]
# Questions of the quickstart, with the tools that answer them.
QUESTIONS = [
    ("What is the greatest common divisor of 12 and 18?", "numbers gcd factors commas"),
    ("Sort these words: pear, apple, fig", "words ascending commas"),
    ("How many legs are there in total if you have 3 cats, 2 dogs and 1 spider?", "animals legs total"),
    ("How long is it from 10:20:30 to 11:00:05?", "times span clock"),
    ("Calculate 12.5 + 3 * 4", "expression value"),
    ("What day of the week was May 17, 2021?", "date weekday"),
    ("What is the sum of 12, 13 and 14?", "numbers total ones"),
    ("Reverse this word: hello", "word backward length"),
]
Way = Callable[[], object]


def report(figure: str, value: float, unit: str, goal: str, **counted: Any) -> None:
    """Print one figure. goal: a comparison such as `>= 20`."""
    relation, bound = goal.split()
    met = value >= float(bound) if relation == ">=" else value <= float(bound)
    line = {"figure": figure, "value": round(value, 3), "unit": unit, "goal": goal, "met": met, **counted}
    print(json.dumps(line), flush=True)


def interleaved(ways: dict[str, tuple[Way, int]], num_rounds: int) -> dict[str, list[float]]:
    """Seconds a call, by way and round. Each way is called its number of times a round, in turn with the others."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way, _ in ways.values():
        way()
    for number in range(num_rounds):
        names = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in names:
            way, num_calls = ways[name]
            started = time.perf_counter()
            for _ in range(num_calls):
                way()
            seconds[name].append((time.perf_counter() - started) / num_calls)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """How many times as many calls the second way makes, the median of the rounds."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def fresh_interpreter(code: str) -> None:
    subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True)


def _exec_and_send(code: str, sender: Any) -> None:
    printed = StringIO()
    with redirect_stdout(printed):
        exec(code, {})
    sender.send(printed.getvalue())


def forked(code: str) -> None:
    """An unisolated fork of this process, which must have sympy warm."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_exec_and_send, args=(code, sender))
    child.start()
    receiver.recv()
    child.join()


def compare_tiers(rounds: int) -> None:
    """CPython tier against a fresh interpreter, an unisolated fork and a bare fork; fast tier against CPython tier.

    The parent of the unisolated forks is this process, warmed exactly as the fork server is.
    """
    for name in PRELOAD:
        exec(preload.EXERCISES.get(name, ""), {})
    with Sandbox() as both, Sandbox(isolation="none", tier="cpython") as bare:
        for name, code, fewer in (
            ("trivial", TRIVIAL, 1),
            ("trivial on the full server", ON_FULL, 1),
            ("sympy", SYMPY, 3),
        ):
            ways: dict[str, tuple[Way, int]] = {
                "interpreter": (lambda code=code: fresh_interpreter(code), 1),
                "fork": (lambda code=code: forked(code), 30 // fewer),
                "bare": (lambda code=code: bare.run(code), 30 // fewer),
                "sandbox": (lambda code=code: both.run(code, tier="cpython"), 30 // fewer),
            }
            took = interleaved(ways, rounds)
            rates = {way: round(1 / statistics.median(seconds), 1) for way, seconds in took.items()}
            if name == "sympy":
                goal = ">= 20"
                report(
                    "sympy, CPython tier / fresh interpreter",
                    ratio(took["interpreter"], took["sandbox"]),
                    "x",
                    goal,
                    **rates,
                )
            goal = ">= 0.9" if name == "sympy" else ">= 0.8"
            report(f"{name}, CPython tier / unisolated fork", ratio(took["fork"], took["sandbox"]), "x", goal, **rates)
            report(f"{name}, both layers / bare fork", ratio(took["bare"], took["sandbox"]), "x", ">= 0.85", **rates)
        compare_fast(both, rounds)


def compare_fast(sandbox: Sandbox, rounds: int) -> None:
    _, state = sandbox.extend(None, TRIVIAL)
    on_cpython = State(state.steps, None, True)
    took = interleaved(
        {
            "fast": (lambda: sandbox.run(TRIVIAL), 300),
            "cpython": (lambda: sandbox.run(TRIVIAL, tier="cpython"), 20),
            "fast step": (lambda: sandbox.extend(state, STEP), 300),
            "cpython step": (lambda: sandbox.extend(on_cpython, f"{STEP} # {time.monotonic()}"), 20),
        },
        rounds,
    )
    rates = {way: round(1 / statistics.median(seconds), 1) for way, seconds in took.items()}
    report("trivial, fast tier / CPython tier", ratio(took["cpython"], took["fast"]), "x", ">= 30", **rates)
    report("one step, fast tier / CPython tier", ratio(took["cpython step"], took["fast step"]), "x", ">= 30", **rates)


def compare_workers(rounds: int) -> None:
    codes = [TRIVIAL] * 40
    with Sandbox(tier="cpython") as one, Sandbox(tier="cpython", workers=2) as two:
        took = interleaved({"one": (lambda: one.run_many(codes), 1), "two": (lambda: two.run_many(codes), 1)}, rounds)
    rates = {way: round(len(codes) / statistics.median(seconds), 1) for way, seconds in took.items()}
    load = round(os.getloadavg()[0], 1)
    report("2 workers / 1 worker", ratio(took["one"], took["two"]), "x", ">= 1.7", load=load, **rates)


def measure_latency(num_calls: int) -> None:
    with Sandbox(tier="cpython") as sandbox:
        sandbox.run(TRIVIAL)
        seconds = []
        for _ in range(num_calls):
            started = time.perf_counter()
            sandbox.run(TRIVIAL)
            seconds.append(time.perf_counter() - started)
    seconds.sort()
    p50, p99 = seconds[num_calls // 2], seconds[math.ceil(num_calls * 0.99) - 1]
    report("latency p99 / p50", p99 / p50, "x", "<= 3", p50_ms=round(p50 * 1e3, 2), p99_ms=round(p99 * 1e3, 2))


def measure_timeout(num_calls: int) -> None:
    limits = Limits(timeout_s=0.3)
    with Sandbox(limits) as sandbox:
        for tier in ("cpython", "fast"):
            overshoots = []
            sandbox.run("print(1)", tier=tier)  # type: ignore[arg-type]
            for _ in range(num_calls):
                started = time.perf_counter()
                assert sandbox.run("while True: pass", tier=tier).status == "timeout"  # type: ignore[arg-type]
                overshoots.append(time.perf_counter() - started - limits.timeout_s)
            report(f"timeout overshoot, {tier} tier, worst", max(overshoots) * 1e3, "ms", "<= 100", n=num_calls)


def measure_start() -> None:
    started = time.perf_counter()
    with Sandbox(tier="cpython") as sandbox:
        sandbox.run(SYMPY)
        report("worker start to first answer", time.perf_counter() - started, "s", "<= 3")
        report("worker memory, resident", resident_bytes(sandbox.worker_pids()) / 1e6, "MB", "<= 80")


def resident_bytes(pids: list[int]) -> float:
    """Largest resident set in the trees of processes under `pids`."""
    sizes = [0.0]
    for pid in pids:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            continue
        sizes += [pages * os.sysconf("SC_PAGESIZE"), resident_bytes([int(child) for child in below])]
    return max(sizes)


def compare_grading(rounds: int, problems: list[tuple[str, str, str]]) -> None:
    with Sandbox(tier="cpython") as sandbox:

        def split() -> None:
            verdicts = [sandbox.grade(*problem).verdict for problem in problems]
            assert set(verdicts) == {"passed"}, verdicts

        def forgeable() -> None:
            for code, name, tests in problems:
                assert sandbox.run(f"{code}\n{tests}\ncheck({name})").status == "ok"

        took = interleaved({"forgeable": (forgeable, 1), "split": (split, 1)}, rounds)
    rates = {way: round(len(problems) / statistics.median(seconds), 1) for way, seconds in took.items()}
    report(
        "grading, split / forgeable", ratio(took["forgeable"], took["split"]), "x", ">= 0.7", n=len(problems), **rates
    )


def measure_trees(rounds: int) -> None:
    """Depth 8 x width 8 trees, against running every prefix again."""
    with Sandbox() as sandbox, Sandbox(tier="cpython") as cpython:
        for kind, (root, step) in TREE_STEPS.items():
            again = partial(grow_again, cpython, root, step)
            took = interleaved({"extend": (partial(grow, sandbox, root, step), 1), "again": (again, 1)}, rounds)
            rates = {way: round(65 / statistics.median(seconds), 1) for way, seconds in took.items()}
            goal = ">= 1" if kind == "light" else ">= 2"
            report(
                f"tree of {kind} steps, extend / run again", ratio(took["again"], took["extend"]), "x", goal, **rates
            )
        state = sandbox.extend(None, "import sympy")[1]
        step = "print(sympy.integrate(sympy.Symbol('x')))"
        ways: dict[str, tuple[Way, int]] = {
            "new": (lambda: sandbox.extend(state, f"{step}  # {time.monotonic()}"), 10),
            "seen": (lambda: sandbox.extend(state, step), 10),
        }
        took_both = interleaved(ways, rounds)
        report("a step seen before / a new one", ratio(took_both["new"], took_both["seen"]), "x", ">= 30")


def grow(sandbox: Sandbox, root: str, step: str) -> None:
    """64 steps, eight a level, each below one of the level above in a fixed spread."""
    salt = f"# {time.monotonic()}\n"
    level = [sandbox.extend(None, salt + root)[1]]
    for depth in range(8):
        pairs = [(level[(5 * n + depth) % len(level)], salt + step.format(n=n + 1)) for n in range(8)]
        answers = sandbox.extend_many(pairs)
        assert {execution.status for execution, _ in answers} == {"ok"}
        level = [state for _, state in answers]


def grow_again(sandbox: Sandbox, root: str, step: str) -> None:
    """The same tree, every node run from its root."""
    level = [root]
    for depth in range(8):
        level = [f"{level[(5 * n + depth) % len(level)]}\n{step.format(n=n + 1)}" for n in range(8)]
        assert {execution.status for execution in sandbox.run_many(level)} == {"ok"}


async def search(sandbox: Sandbox, trees: int) -> int:
    """Search `trees` trees for each of `QUESTIONS` at once; the number of steps."""
    runner, salt = AsyncSandbox(sandbox), time.monotonic()
    found = [explore(runner, *asked, f"{salt} {n}") for n in range(trees) for asked in QUESTIONS]
    return sum(await asyncio.gather(*found))


async def explore(runner: AsyncSandbox, question: str, tools: str, salt: str) -> int:
    """Expand one path: at each node five siblings, the first of which is right and the others as models err."""
    [(_, state)] = await runner.extend_many([(None, f"q = {question!r}")])
    num_steps, before = 1, "q"
    for name, tool in zip("abcdefgh", [*tools.split(), "print"], strict=False):
        calls = [
            f"{tool}({before})",
            f"total({before})",
            f"root({before})",
            f"{tool}({name}{name})",
            f"largest({before})",
        ]
        steps = [f"# take {tool}, {salt}\n{name} = {call}" for call in calls]
        answers = await runner.extend_many([(state, step) for step in steps])
        assert answers[0][0].status == "ok", answers[0][0]
        num_steps, before, state = num_steps + len(steps), name, answers[0][1]
    return num_steps


def measure_search(rounds: int) -> None:
    """Steps a second as a search asks for them, with the quickstart's library as prelude."""
    library = toolbox_source()
    with (
        Sandbox(prelude=library) as one,
        Sandbox(prelude=library, workers=2) as two,
        Sandbox(prelude=library, tier="cpython") as cpython,
    ):
        ways: dict[str, tuple[Way, int]] = {
            "one": (lambda: asyncio.run(search(one, 4)), 1),
            "two": (lambda: asyncio.run(search(two, 4)), 1),
            "cpython": (lambda: asyncio.run(search(cpython, 1)), 1),
        }
        num_steps = {way: asyncio.run(search(cpython, 1)) * (1 if way == "cpython" else 4) for way in ways}
        took = interleaved(ways, rounds)
    each = {way: [second / num_steps[way] for second in seconds] for way, seconds in took.items()}
    rates = {way: round(1 / statistics.median(seconds), 1) for way, seconds in each.items()}
    report("search steps, fast tier / CPython tier", ratio(each["cpython"], each["one"]), "x", ">= 10", **rates)


def read_humaneval(path: Path) -> list[tuple[str, str, str]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = [json.loads(line) for line in file]
    return [(row["prompt"] + row["canonical_solution"], row["entry_point"], row["test"]) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds")
    parser.add_argument("--humaneval", type=Path, help="a HumanEval file to grade the solutions of")
    chosen = parser.parse_args()
    rounds = 3 if chosen.quick else 15
    compare_tiers(rounds)
    compare_workers(rounds)
    measure_latency(100 if chosen.quick else 500)
    measure_timeout(3 if chosen.quick else 10)
    measure_start()
    compare_grading(rounds, read_humaneval(chosen.humaneval) if chosen.humaneval else PROBLEMS * 5)
    measure_trees(max(2, rounds // 5))
    measure_search(max(2, rounds // 3))


if __name__ == "__main__":
    main()
