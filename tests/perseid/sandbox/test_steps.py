"""Steps on the CPython tier: from remembered results and frozen states, always as if everything had been run again."""

# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perseid.sandbox import Limits, Sandbox, State

BURN = "\nfor _ in range(2_000_000):\n    pass\n"
PRELUDE = "SEEN = []\ndef note(x):\n    SEEN.append(x)\n    return len(SEEN)\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(timeout_s=10), tier="cpython", prelude=PRELUDE) as opened:
        yield opened


CHAINS = {
    "numbers and containers": ["a = [1, {2: 3}]\nb = a", "b.append(4)", "print(a, a is b)"],
    "sympy expressions": [
        "from sympy import *\nx = symbols('x', positive=True)\ne = integrate(x * exp(2 * x), x)",
        "f = diff(e, x)",
        "print(simplify(f), x == symbols('x', positive=True), solve(x**2 - 4, x))",
    ],
    "numpy arrays": ["import numpy as np\nv = np.arange(4)", "v += 1\nw = v[1:]", "print(v, w, np.sum(v))"],
    "functions": ["n = 3\ndef f(k, *, z=2):\n    return n * k + z", "n = 5", "print(f(2), f(2, z=0))"],
    "random numbers": ["import random\nr = [random.random()]", "r.append(random.random())", "print(r, random.random())"],
    "numpy's random numbers": ["import numpy as np", "r = np.random.rand()", "print(r, np.random.rand())"],
    "the prelude's own state": ["note(1)", "note(2)", "print(note(3), SEEN)"],
    "nameless symbols": ["from sympy import Dummy\nd = Dummy('t')", "e = Dummy('t')", "print(d == e, Dummy('t') == e)"],
    "classes of the program's own": ["class P:\n    n = 1\np = P()", "p.n = 2", "print(p.n, P.n, type(p) is P)"],
    "closures": ["def up(n):\n    return lambda: n", "g = up(3)\ng()", "print(g())"],
    "generators": ["g = (n for n in range(5))", "next(g)", "print(next(g))"],
    "changed modules": ["import math\nmath.pi = 3", "x = 1", "print(math.pi)"],
    "changed settings": ["import mpmath\nmpmath.mp.dps = 30", "x = mpmath.mpf(1) / 3", "print(x, mpmath.mp.dps)"],
    "decimal precision": ["from decimal import *\ngetcontext().prec = 5", "x = Decimal(1) / 3", "print(x)"],
    "a function of sympy's": ["from sympy import *\nx, f = Symbol('x'), Function('f')", "e = f(x)", "print(e, e == f(x))"],
    "recursion limit": ["import sys\nsys.setrecursionlimit(5000)", "x = 1", "print(sys.getrecursionlimit())"],
    "large state": ["big = list(range(300_000))", "big.append(1)", "print(len(big), big[-1])"],
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_dear_steps_ends_as_the_whole_program_does(sandbox: Sandbox, name: str) -> None:
    steps = [step + BURN for step in CHAINS[name]]
    state, outputs = None, []
    for step in steps:
        execution, state = sandbox.extend(state, step)
        assert execution.status == "ok", execution
        outputs.append(execution.stdout)
    assert "".join(outputs) == sandbox.run("\n".join(steps)).stdout


def test_what_objects_say_of_themselves_is_the_same_in_every_process() -> None:
    shown = "class P: pass\ndef f(): yield\nprint(f, f(), P(), lambda: 0, P().__init__, [].append, f.__code__)\nP().x"
    told = []
    for _ in range(2):
        with Sandbox(Limits(timeout_s=10), tier="cpython", preload=()) as opened:
            told.append(opened.run("print('at 0x7f2a60c5d1c0', '<0x7f2a60c5d1c0>')\n" + shown))
    assert told[0].stdout == told[1].stdout
    assert told[0].stdout.startswith(
        "at 0x7f2a60c5d1c0 <0x7f2a60c5d1c0>\n<function f at 0x0> <generator object f at 0x0>"
    )
    assert told[0].error == told[1].error == "AttributeError: 'P' object has no attribute 'x'"


def test_a_step_after_a_dear_prefix_runs_only_itself(sandbox: Sandbox) -> None:
    dear, state = sandbox.extend(None, f"a = 1{BURN * 5}")
    cheap, _ = sandbox.extend(state, "print(a)")
    assert cheap.stdout == "1\n"
    assert cheap.cpu_s < dear.cpu_s / 2


def test_a_step_seen_before_is_not_run_again(sandbox: Sandbox) -> None:
    code = "import time\nprint(time.time_ns())"
    assert sandbox.extend(None, code)[0] == sandbox.extend(None, code)[0]
    assert sandbox.run(code).stdout != sandbox.run(code).stdout


def test_siblings_from_one_frozen_state_do_not_see_each_other(sandbox: Sandbox) -> None:
    _, state = sandbox.extend(None, f"a = [1]{BURN}")
    outputs = [sandbox.extend(state, f"a.append({n})\nprint(a)")[0].stdout for n in (2, 3)]
    assert outputs == ["[1, 2]\n", "[1, 3]\n"]


def test_a_state_that_cannot_be_put_back_is_run_again(sandbox: Sandbox) -> None:
    # Pickles well, and fails to come back: only the way over the whole prefix is left.
    code = f"import functools\ndef boom():\n    return int('x')\nclass_like = functools.partial(int, base=2){BURN}"
    _, state = sandbox.extend(None, code)
    assert sandbox.extend(state, "print(class_like('11'))")[0].stdout == "3\n"


def test_an_earlier_step_that_ends_otherwise_is_named(sandbox: Sandbox) -> None:
    execution, state = sandbox.extend(State.of("x = 1", "1 / 0"), "print(x)")
    assert execution.status == "error"
    assert execution.error == "step 2, run again before this one, ended otherwise: ZeroDivisionError: division by zero"
    assert state == State.of("x = 1", "1 / 0")


def test_a_step_that_ends_with_its_memory_full_has_ended() -> None:
    step = "a = []\ntry:\n    while True:\n        a.append('x' * 100 + str(len(a)))\nexcept MemoryError:\n    print('end')"
    with Sandbox(Limits(memory_bytes=128 << 20), tier="cpython", preload=()) as small:
        execution, _ = small.extend(None, step)
    assert (execution.status, execution.stdout) == ("ok", "end\n")
