"""The fast tier against CPython: equal on a generated corpus, but for the differences written down here."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

import pytest

from perseid.problems import teacher, toolbox_source
from perseid.sandbox import Execution, Limits, Sandbox
from perseid.sandbox.fast import routed_to_cpython
from tests.perseid.sandbox.programs import program

# What the two tiers are known to do differently without an error on the fast one: program, fast tier, CPython.
KNOWN = {
    "sets keep the order of insertion": ("print({3, 1, 2})", "{3, 1, 2}\n", "{1, 2, 3}\n"),
    "the last digit of a float may be printed otherwise": (
        "print((15 - 1e16) / 15 / 5)",
        "-133333333333333.13\n",
        "-133333333333333.12\n",
    ),
    "the last digit of math functions may differ": (
        "import math\nprint(math.gamma(5.5))",
        "52.34277778455353\n",
        "52.34277778455352\n",
    ),
    "a dict key that is assigned again takes the new key": (
        "print({True: 'a', 1: 'b'})",
        "{1: 'b'}\n",
        "{True: 'b'}\n",
    ),
    "iterators print as lists": ("print(reversed([1]))", "[1]\n", None),
    "objects print another address and no module": ("class A: pass\nprint(str(A())[:4])", "<A o\n", "<__m\n"),
    "a missing feature can be caught": (
        "try:\n    (5).bit_length()\nexcept AttributeError:\n    print('no')",
        "no\n",
        "",
    ),
}
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=5.0), workers=2) as opened:
        yield opened


@pytest.mark.parametrize("name", KNOWN)
def test_the_known_differences_are_as_written(sandbox: Sandbox, name: str) -> None:
    code, fast, cpython = KNOWN[name]
    found = sandbox.run(code)
    assert (found.tier, found.stdout) == ("fast", fast)
    reexecuted = sandbox.run(code, tier="cpython")
    assert reexecuted.stdout != fast
    assert cpython is None or reexecuted.stdout == cpython


def agree(fast: Execution, cpython: Execution) -> bool:
    """Whether status and output are equal, the last digit of printed floats apart."""
    if fast.status != cpython.status or _NUMBER.sub("#", fast.stdout) != _NUMBER.sub("#", cpython.stdout):
        return False
    pairs = zip(_NUMBER.findall(fast.stdout), _NUMBER.findall(cpython.stdout), strict=True)
    return all(a == b or math.isclose(float(a), float(b), rel_tol=4e-16) for a, b in pairs)


@pytest.mark.parametrize(("first", "num"), [(0, 250), pytest.param(250, 2250, marks=pytest.mark.slow)])
def test_generated_programs_end_alike_on_both_tiers(sandbox: Sandbox, first: int, num: int) -> None:
    codes = [program(seed) for seed in range(first, first + num)]
    fast, cpython = sandbox.run_many(codes), sandbox.run_many(codes, tier="cpython")
    answered = [execution for execution in fast if execution.tier == "fast"]
    assert len(answered) > 0.8 * num
    wrong = [code for code, a, b in zip(codes, fast, cpython, strict=True) if not agree(a, b)]
    assert wrong == []


SILENT = [
    "import numpy as np",
    "from sympy import *",
    "x = 1; import os",
    "import math, heapq",
    "import time\ntime.sleep(1)",
    "eval('1')",
    "open('x')",
    "print(hash('a'))",
    "try:\n    import fractions\nexcept ImportError:\n    pass",
]


@pytest.mark.parametrize("step", SILENT)
def test_what_would_go_wrong_silently_is_routed_to_cpython(step: str) -> None:
    assert routed_to_cpython(step)


@pytest.mark.parametrize("step", ["import math", "from collections import Counter, deque", "important = 1", "print(3)"])
def test_what_the_fast_tier_knows_stays_there(step: str) -> None:
    assert not routed_to_cpython(step)


def test_the_fast_tier_survives_source_that_is_no_text(sandbox: Sandbox) -> None:
    for code in ("x = '\ud800'", "x = 1 \0", "(" * 10000, "[" * 3000 + "]" * 3000, "-" * 100000 + "1", "\x1b\x00"):
        assert sandbox.run(code).status in ("error", "ok", "crashed", "memory")


def test_extension_reaches_thousands_of_steps_a_second(sandbox: Sandbox) -> None:
    _, state = sandbox.extend(None, "def f(n):\n    return n + 1\nx = 1")
    steps = sandbox.extend_many([(state, f"print(f({n}))") for n in range(1000)])
    assert [execution.stdout for execution, _ in steps] == [f"{n + 1}\n" for n in range(1000)]
    assert sum(execution.wall_s for execution, _ in steps) < 5.0


QUESTIONS = [
    "What is 12 + 7 - 3?",
    "List the numbers: 4, 19, 33, 7, 100",
    "A farm has 3 spiders and 12 chickens; how many legs?",
    'How often does the letter "s" occur in "possessions"?',
    "Solve x**2 - 5*x + 6 = 0",
    "Which weekday is 2024-02-29?",
    "What time is it 95 minutes after 22:40?",
    "Add 1.25, 3.5 and 0.333",
    "Sort: pear, apple, fig, banana",
]


@pytest.mark.parametrize("num", [150, pytest.param(2500, marks=pytest.mark.slow)])
def test_the_quickstarts_own_steps_end_alike_on_both_tiers(num: int) -> None:
    draw = random.Random(0)
    chains = [
        (draw.choice(teacher.READERS), *draw.choices(teacher.FUNCTIONS, k=draw.randint(1, 4))) for _ in range(num)
    ]
    codes = [f"q = {draw.choice(QUESTIONS)!r}\n" + "\n".join(teacher.program(tools)) for tools in chains]
    with Sandbox(Limits(timeout_s=5.0), workers=2, prelude=toolbox_source()) as sandbox:
        fast, cpython = sandbox.run_many(codes), sandbox.run_many(codes, tier="cpython")
    wrong = [code for code, a, b in zip(codes, fast, cpython, strict=True) if not agree(a, b)]
    assert wrong == []
    assert sum(execution.tier == "fast" for execution in fast) > 0.8 * num


@pytest.mark.parametrize(
    "code", ["while True:\n    print('x' * 100)", "print('x' * 10**6)", "print('x' * 10**6)\n1 / 0"]
)
def test_a_program_that_prints_too_much_is_ended_at_once(code: str) -> None:
    with Sandbox(Limits(timeout_s=60, output_bytes=1000)) as sandbox:
        execution = sandbox.run(code)
        assert (execution.status, execution.tier, execution.truncated) == ("output", "fast", True)
        assert len(execution.stdout) == 1000
        assert execution.wall_s < 30
        assert sandbox.run("print(1)").stdout == "1\n"
