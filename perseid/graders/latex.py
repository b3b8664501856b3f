"""Whether two texts are the same mathematics in LaTeX: math-verify, in a process of its own that can be lost.

The process (`latex_process.py`) has a limit of CPU seconds, so that how busy the machine is decides no verdict, a wall
clock ten times as long behind it, and a limit of memory. Whoever passes one is killed; the next pair finds a new one.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Final

from perseid.graders.latex_process import LIMIT_CPU_S
from perseid.graders.process import Child, Lost, NotStarted

LIMIT_WALL_S: Final = 10.0 * LIMIT_CPU_S
LIMIT_BYTES: Final = 1024**3  # resident
comparer: Final = Child(Path(__file__).with_name("latex_process.py"), limit_bytes=LIMIT_BYTES)


class _CannotTell(Exception):
    """The comparison failed: no verdict, and none to be remembered."""


def same(answer: str, gold: str) -> bool | None:
    """None: cannot tell, for the gold is no mathematics or the comparison failed.

    Raises `RuntimeError` where the process does not even start.
    """
    try:
        return verdict(answer, gold)
    except _CannotTell:
        return None


@functools.lru_cache(maxsize=10_000)
def verdict(answer: str, gold: str) -> bool:
    """Remembered, but for what could not be told: `lru_cache` keeps no exception."""
    try:
        said = json.loads(comparer.ask(json.dumps([answer, gold]).encode(), LIMIT_WALL_S))
    except NotStarted as why:
        raise RuntimeError(f"the process that compares mathematics did not start: {why}") from None
    except Lost:
        raise _CannotTell from None
    if said is None:
        raise _CannotTell
    return bool(said)
