"""The fast tier against CPython: equal on a generated corpus, but for the differences written down here."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perseid.problems.sources.tools import teacher
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import Execution, Limits, Sandbox
from perseid.sandbox.patterns import alike
from perseid.sandbox.routing import prints_otherwise, routed_to_cpython
from tests.perseid.sandbox import expressions
from tests.perseid.sandbox.programs import program

# What the two tiers are known to do differently without an error on the fast one: program, fast tier, CPython.
KNOWN = {
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
    "a key that is assigned again takes the new key's type": (
        "d = {}\nd[True] = 1\nd[1] = 2\nprint(d)",
        "{1: 2}\n",
        "{True: 2}\n",
    ),
    "an empty text is found past the end": ("print('ab'.find('', 5))", "2\n", "-1\n"),
    "equal numbers and texts may be one object": (
        "print(float('inf') is float('inf'))",
        "True\n",
        "False\n",
    ),
    "objects print another address and no module": ("class A: pass\nprint(str(A())[:4])", "<A o\n", "<__m\n"),
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


LEFT_TO_CPYTHON = [
    "print(pow(3, -1, 7))",
    "import re\nprint(re.findall('a$', 'a\\n'))",
    "import re\nprint(re.findall('a|b|', 'ab'))",
    "import re\nprint(re.findall('[a&&b]', 'a&b'))",
    "import re\nprint(re.findall('[[:alpha:]]', 'a:]'))",
    "import re\nprint(re.findall(r'(?a)\\w', 'aé'))",
    "import re\nprint(re.findall(r'\\101', 'A'))",
    "import re as r\nprint(r.findall('a|', 'ab'))",
    "from re import findall\nprint(findall('a|', 'ab'))",
    "import re\np = 'a|'\nprint(re.findall(p, 'ab'))",
    "import re\nprint(re.sub('a', r'$0', 'a'))",
    "print(int('\u0663'))",
    "print(float('\u0663'))",
    "import math\nprint(math.sumprod([1], [2]))",
    "import itertools\nprint(list(itertools.batched([1, 2, 3], 2)))",
    "from itertools import batched\nprint(list(batched([1, 2, 3], 2)))",
    'd = {\'a\': 1}\nprint(f"{d["a"]}")',
    "print(f\"{'\\n'.join('ab')}\")",
    "def f[T](x):\n    return x\nprint(f(1))",
    "class A[T]:\n    pass\nprint(1)",
    "try:\n    1 / 0\nexcept ZeroDivisionError, ValueError:\n    print(1)",
    "try:\n    print(pow(3, -1, 7))\nexcept ValueError:\n    print('none')",
    "try:\n    print((5).bit_count())\nexcept AttributeError:\n    print('none')",
    "try:\n    1 // 0\nexcept ZeroDivisionError as error:\n    print(error)",
    "def f():\n    try:\n        return pow(3, -1, 7)\n    finally:\n        return 1\nprint(f())",
    "print(getattr(5, 'bit_count', None) is None)",
    "print({3, 1, 2})",
    "for c in set('hello'):\n    print(c)",
    "r = reversed([1, 2])\nprint(list(r), list(r))",
    "e = enumerate('ab')\nprint(list(e), list(e))",
    "v = [3, 1, 2]\nprint(max(set(v), key=v.count))",
    "def f(n):\n    return n and 1 + f(n - 1)\nprint(f(985))",
    "print(max([]))",
    "print(range(5, 0, -2)[1:2:-2])",
]


@pytest.mark.parametrize("code", LEFT_TO_CPYTHON)
def test_what_the_fast_tier_would_end_otherwise_is_left_to_cpython(sandbox: Sandbox, code: str) -> None:
    found, asked = sandbox.run(code), sandbox.run(code, tier="cpython")
    assert found.tier == "cpython"
    assert (found.status, found.stdout, found.error) == (asked.status, asked.stdout, asked.error)


@pytest.mark.parametrize(
    "part",
    [
        "_",
        "sorted(set(",
        "{ ",
        "except (KeyError ",
        "    ",
        "re.findall(",
        "re.sub('",
        'f"{',
        'f"""',
        "<a ",
        "__a__ ",
        "set(",
        "'\\\\",
    ],
)
def test_the_host_reads_hostile_texts_in_one_go(part: str) -> None:
    """A pattern of the host's that backtracks would not come to an end here."""
    for text in (part * 20_000, f"except (KeyError{part * 20_000}", f"re.sub(r'{part * 20_000}"):
        routed_to_cpython(text)
        prints_otherwise(text)
        alike((text,))


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(codes=st.lists(expressions.programs, min_size=30, max_size=30))
def test_what_the_fast_tier_answers_cpython_answers_too(sandbox: Sandbox, codes: list[str]) -> None:
    fast = sandbox.run_many(codes)
    answered = [(code, found) for code, found in zip(codes, fast, strict=True) if found.tier == "fast"]
    cpython = sandbox.run_many([code for code, _ in answered], tier="cpython")
    wrong = [code for (code, found), asked in zip(answered, cpython, strict=True) if not agree(found, asked)]
    assert wrong == []


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
    assert len(answered) > 0.6 * num
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
