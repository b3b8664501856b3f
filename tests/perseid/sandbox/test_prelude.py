"""A prelude by parts does what the whole prelude does, and programs carry little of it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from perseid.problems.sources.tools import teacher
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import Execution, Sandbox, State
from perseid.sandbox.prelude import Prelude

SOURCE = '''
"""What it is for."""
import math
from re import findall as find

LEVELS = dict.fromkeys(["low", "high"], -1)
SEEN = []
ALIAS = SEEN
_first = max


def note(x, into=[]):
    into.append(x)
    SEEN.append(x)
    return len(into) + len(SEEN)


def area(r):
    return scaled(math.pi * r * r)


def scaled(x):
    return round(x, 2)


def max(x):
    return _first(x) + 1


def count():
    global TOTAL
    TOTAL += 1
    return TOTAL


TOTAL = 0
'''
WITH_EFFECTS = f"{SOURCE}\nSEEN.append('start')\nfor LEVEL in LEVELS:\n    LEVELS[LEVEL] += 1\n"
PROGRAMS = {
    "nothing of it": ["a = 1", "print(a)"],
    "a function that calls another": ["print(area(2))"],
    "a name bound anew before it is used": ["def scaled(x):\n    return -1", "print(area(1))"],
    "a name bound anew after it was used": ["a = area(1)", "scaled = abs", "print(a, area(-1))"],
    "a module changed by name": ["import math as m\nmath = 3", "print(math)", "print(area(1))"],
    "one list under two names": ["ALIAS.append(1)", "SEEN.append(2)", "print(ALIAS, ALIAS is SEEN, note(3))"],
    "a list bound anew before its other name is read": ["SEEN = [5]", "print(ALIAS, note(1), SEEN)"],
    "a default that remembers": ["note(1)", "note(2)", "print(note(3), SEEN)"],
    "a builtin hidden by the prelude": ["print(max([1, 2]))"],
    "a builtin bound anew before the prelude takes it": ["max = min", "print(max([1, 2]), _first([1, 2]))"],
    "a maker bound anew": ["dict = None", "print(LEVELS)"],
    "a counter": ["count()", "count()", "print(count(), TOTAL)"],
    "a name written otherwise": ["print(ａｒｅａ(1))"],
    "every name at once": ["x = 1", "print(sorted([n for n in globals() if not n.startswith('_')]))"],
    "a name that is not there": ["print(nothing)"],
    "a name asked for and caught": ["try:\n    nothing\nexcept NameError:\n    a = 'none'", "print(a, area(1))"],
    "a name in a function of the program's": ["def f(r):\n    return area(r)", "print(f(1))"],
    "a name in a text": ["print('area', len(f'{area(3)}'))"],
    "an error": ["area('x')"],
    "an import that hides": ["from math import floor as area", "print(area(2.5))"],
    "what the start did": ["print(SEEN, LEVELS)"],
}  # fmt: skip


def whole(source: str) -> str:
    """`source` with a statement that names all it defines, and cannot wait: everything is there from the start."""
    names = sorted(frozenset().union(*(part.keys for part in Prelude(source)._parts)))
    return f"{source}\nif False:\n    ({', '.join(names)})\n"


def ends(sandbox: Sandbox, steps: list[str]) -> list[Execution]:
    state, found = State(), []
    for step in steps:
        execution, state = sandbox.extend(state, step)
        found.append(execution)
    return found


def told(executions: list[Execution]) -> list[tuple[str, str, str | None, str]]:
    return [(one.status, one.stdout, one.error, one.tier) for one in executions]


@pytest.fixture(scope="module", params=[SOURCE, WITH_EFFECTS], ids=["definitions", "effects"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Sandbox, Sandbox]]:
    with Sandbox(prelude=request.param) as parts, Sandbox(prelude=whole(request.param)) as everything:
        yield parts, everything


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_as_with_the_whole_prelude(both: tuple[Sandbox, Sandbox], name: str) -> None:
    parts, everything = both
    steps = PROGRAMS[name]
    assert told(ends(parts, steps)) == told(ends(everything, steps))
    rebuilt = parts.extend(State.of(*steps[:-1]), steps[-1])[0]
    assert told([rebuilt]) == told(ends(everything, steps)[-1:])


def test_programs_of_the_quickstart_end_as_with_the_whole_library() -> None:
    rng, source = random.Random(5), toolbox_source()
    questions = [
        "What is the greatest common divisor of 12, 18 and 30?",
        "Sort these: pear, apple, fig",
        "It is 10:20:30 on May 17, 2021.",
    ]
    with Sandbox(prelude=source) as parts, Sandbox(prelude=whole(source)) as everything:
        for _ in range(150):
            tools = [rng.choice(teacher.READERS), *rng.choices(teacher.FUNCTIONS, k=rng.randint(1, 3))]
            steps = [f"q = {rng.choice(questions)!r}", *teacher.program(tools)]
            assert told(ends(parts, steps)) == told(ends(everything, steps)), steps


def test_a_program_carries_what_it_names_and_no_more() -> None:
    prelude = Prelude(SOURCE)
    assert prelude.start == ""
    assert prelude.before(("x = 1",)) == ""
    assert prelude.before(("y = area(2)",)).split("\n\n")[0] == "import math"
    assert "def note" not in prelude.before(("y = area(2)",))
    assert "def scaled" in prelude.before(("y = area(2)",))
    assert prelude.before(("y = area(2)", "area(3)")) == ""
    assert "def note" in prelude.before(("dir()",))


def test_what_may_not_wait_is_run_at_the_start_with_all_that_it_names() -> None:
    prelude = Prelude(WITH_EFFECTS)
    assert "SEEN = []" in prelude.start
    assert "LEVELS = " in prelude.start
    assert "def area" not in prelude.start
    assert prelude.before(("print(SEEN)",)) == ""
    assert "def note" in Prelude(f"{SOURCE}\nx = note(1)").start


def test_the_library_of_the_quickstart_waits_as_a_whole() -> None:
    prelude = Prelude(toolbox_source())
    assert prelude.start == ""
    assert len(prelude.before(("b = gcd(a)",))) < 400


@pytest.mark.parametrize(
    "step",
    [
        "# import" + " " * 200_000,
        "x = (1, '" + "\u0301" * 60_000 + "\u0327" * 60_000 + "')",
        "x = (1, '" + "\u0f73" * 80_000 + "')",
    ],
)
def test_no_text_takes_time_by_the_square_of_its_length(step: str) -> None:
    parts = Prelude(SOURCE)
    started = time.process_time()
    assert parts.wanted(step) == parts.wanted("x = 1")
    assert time.process_time() - started < 5


@pytest.mark.parametrize("stars", ["import *", "import*", "import\t (*", "import ( *", "import(*", "import(\t\t*)"])
def test_a_star_takes_everything(stars: str) -> None:
    parts = Prelude(SOURCE)
    assert len(parts.wanted(f"from math {stars}")) > len(parts.wanted("from math import pi"))


def test_a_name_outside_ascii_is_found_however_it_is_written() -> None:
    parts = Prelude("def caf\u00e9():\n    return 1\n\ndef other():\n    return 2\n")
    assert parts.wanted("cafe\u0301()") >= parts.wanted("caf\u00e9()")
    assert parts.wanted("caf\u00e9()") != parts.wanted("x")
