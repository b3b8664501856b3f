"""Answers to reasoning-gym's questions, graded by the scorer of the question's own data set: right at score 1.0 alone.

A scorer reads what a model wrote, and some do so by evaluating it. So scorers run in a process of their own
(`gym_process.py`) under Landlock and a filter of system calls: it reads Python's own folders, writes nowhere, reaches
no network and starts nothing. It has a limit of time an answer, and of memory. Where it is lost there is no verdict.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

from perseid.graders.grader import Asked, Verdict
from perseid.graders.process import Child, Lost, NotStarted

VERSION: Final = "1"  # raised by hand when the same scores come to mean other verdicts
PROCESS: Final = Path(__file__).with_name("gym_process.py")
LIMIT_S: Final = 20.0  # on the wall, an answer
LIMIT_BYTES: Final = 2 << 30  # resident
RIGHT: Final = 1.0


@dataclass
class Gym:
    """Asks the process, which is started at the first answer."""

    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="perseid-gym"), repr=False
    )

    @cached_property
    def key(self) -> str:
        return f"gym {VERSION} {version('reasoning-gym')}"

    @cached_property
    def _child(self) -> Child:
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        return Child(PROCESS, json.dumps(root).encode(), LIMIT_BYTES, environment)

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Raises `RuntimeError` where the process cannot be confined, or does not start."""
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._thread, self._verdict, each) for each in asked]

    def close(self) -> None:
        """End the process; the next answer starts another."""
        self._child.close()

    def _verdict(self, asked: Asked) -> Verdict:
        if not isinstance(asked.gold.answer, dict):
            return None
        try:
            score = json.loads(self._child.ask(json.dumps([asked.gold.answer, asked.answer]).encode(), LIMIT_S))
        except NotStarted as why:
            raise RuntimeError(f"the process that scores answers of reasoning-gym did not start: {why}") from None
        except Lost:
            return None
        return None if score is None else bool(score >= RIGHT)


GRADERS: Final = {"gym": Gym()}
