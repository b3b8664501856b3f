"""Warming the server: import and exercise, once, what programs typically use, so that a fork finds it ready.

Lazy imports decide the speed: what a child imports for itself it pays for in every execution.
"""

from __future__ import annotations

import importlib
import os
import random
import site
import sys
import types

from . import readable, standard

_STANDARD = """
    __future__ abc array ast base64 bisect builtins calendar cmath collections collections.abc contextlib copy csv
    dataclasses datetime decimal enum fractions functools hashlib heapq inspect io itertools json keyword math
    numbers operator os pprint queue random re statistics string struct textwrap threading time traceback types
    typing unicodedata warnings weakref zlib encodings.latin_1
"""

EXERCISES = {
    "numpy": """
import numpy
import numpy.random, numpy.linalg
numpy.random.seed(0); numpy.random.default_rng(0); numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
str(numpy.arange(3) / 2)
""",
    # Several rounds with other numbers: the interpreter specialises code that has run often, and writes to its pages.
    "sympy": """
import sympy
from sympy import *
x, y = symbols("x y")
for n in range(2, 6):
    solve(x**2 - n * x - n, x), solve([Eq(x + y, n), Eq(x - y, 3)], [x, y]), solve(x**3 - n * x, x), str(sqrt(8 * n))
    integrate(x * sin(n * x), x), diff(exp(n * x) * x, x), limit(sin(n * x) / x, x, 0), Sum(x, (x, 1, n)).doit()
    simplify((x**2 - n * n) / (x - n)), factor(x**2 - n * n), expand((x + n)**2), simplify(sin(x)**2 + cos(x)**2)
    sympify("2*x + 1").subs(x, Rational(1, n)).evalf(), Matrix([[1, n], [3, 4]]).det(), factorint(60 * n)
nsolve(cos(x) - x, 1), latex(x / 2), Matrix([[1, 2], [3, 4]]).inv()
""",
}


def warm(names: list[str], prelude: str, library: int, folder: str) -> tuple[types.ModuleType, list[str]]:
    """Import the standard modules and `names`, exercise them, run `prelude` in a fresh `__main__`.

    From then on the standard library comes from the block behind descriptor `library`; its modules believe to lie in
    `folder`. Returns that `__main__`, and the folders of the imported packages.
    """
    site.setquit()
    site.setcopyright()
    site.sethelper()
    for name in _STANDARD.split():
        importlib.import_module(name)
    before = set(sys.modules)
    for name in names:
        importlib.import_module(name)
        exec(EXERCISES.get(name, ""), {})
    packages = readable.package_folders(sorted(_top_levels(set(sys.modules) - before)))
    os.environ.clear()
    # Of how this process was started, no program needs to know.
    sys.argv[:] = sys.orig_argv[:] = [""]
    standard.take_over(library, folder, packages)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), module.__dict__)
    _seed()
    return module, packages


def _top_levels(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


def _seed() -> None:
    """Make what programs draw the same every time. Python's own generator would seed itself anew after every fork."""
    random.seed(0)
    os.register_at_fork(after_in_child=lambda: random.seed(0))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
