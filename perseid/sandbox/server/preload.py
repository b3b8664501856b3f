"""Warming the server: import and exercise, once, what programs typically use, so that a fork finds it ready.

Lazy imports decide the speed: what a child imports for itself it pays for in every execution.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import types

_STANDARD = """
    __future__ abc array ast base64 bisect builtins calendar cmath collections collections.abc contextlib copy csv
    dataclasses datetime decimal difflib enum fractions functools graphlib hashlib heapq inspect io itertools json
    keyword math numbers operator os pprint queue random re secrets statistics string struct textwrap threading time
    timeit traceback types typing unicodedata uuid warnings weakref zlib encodings.idna encodings.latin_1
"""

EXERCISES = {
    "numpy": """
import numpy
import numpy.random, numpy.linalg
numpy.random.seed(0); numpy.random.default_rng(0); numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
str(numpy.arange(3) / 2)
""",
    "sympy": """
import sympy
from sympy import Eq, Rational, diff, expand, factor, integrate, limit, simplify, solve, symbols, sqrt, sympify
x, y = symbols("x y")
solve(x**2 - 2, x), solve([Eq(x + y, 1), Eq(x - y, 3)], [x, y]), integrate(x * sympy.sin(x), x), diff(sympy.exp(x), x)
simplify((x**2 - 1) / (x - 1)), factor(x**2 - 1), expand((x + 1)**2), limit(sympy.sin(x) / x, x, 0), str(sqrt(8) / 3)
sympify("2*x + 1").subs(x, Rational(1, 2)).evalf(), sympy.Matrix([[1, 2], [3, 4]]).det(), sympy.factorint(60)
sympy.nsolve(sympy.cos(x) - x, 1), sympy.latex(x / 2), sympy.binomial(5, 2), sympy.Sum(x, (x, 1, 3)).doit()
""",
}


def warm(names: list[str], prelude: str) -> types.ModuleType:
    """Import the standard modules and `names`, exercise them, run `prelude` in a fresh `__main__`; return that."""
    for name in _STANDARD.split():
        importlib.import_module(name)
    for name in names:
        importlib.import_module(name)
        exec(EXERCISES.get(name, ""), {})
    os.environ.clear()
    _forget_paths()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    exec(compile(prelude, "<prelude>", "exec", dont_inherit=True), module.__dict__)
    _seed()
    return module


def _forget_paths() -> None:
    """Leave only the standard library importable by name; imported packages find their own parts by themselves."""
    sys.path[:] = [entry for entry in sys.path if "site-packages" not in entry and "dist-packages" not in entry]
    sys.argv[:] = [""]
    for entry in list(sys.path_importer_cache):
        if "site-packages" in entry and entry.endswith("-packages"):
            del sys.path_importer_cache[entry]


def _seed() -> None:
    """Make what programs draw the same every time. Python's own generator would seed itself anew after every fork."""
    random.seed(0)
    os.register_at_fork(after_in_child=lambda: random.seed(0))
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
