"""One execution at a time, on the smaller of two fork servers that can take it.

A fork costs by the size of what is forked: a server with sympy and numpy in it is some 75 MB, one without is 20, and
forks in half the time. So a slot has both, each started when first needed: programs that name a preloaded package go to
the full server, everything else to the lean one.
"""

from __future__ import annotations

import re
from dataclasses import replace

from perseid.sandbox.execution import Execution
from perseid.sandbox.worker import Outcome, Program, Worker, WorkerConfig


class Slot:
    """A lean and a full fork server. The caller serialises."""

    def __init__(self, config: WorkerConfig) -> None:
        self._names = config.preload
        names = "|".join(map(re.escape, config.preload))
        self._missing = re.compile(rf"ModuleNotFoundError: No module named '(?:{names})['.]")
        self._always_full = any(name in config.prelude for name in config.preload)
        self.lean = Worker(config if self._always_full else replace(config, preload=()))
        self._full = Worker(config) if config.preload and not self._always_full else self.lean

    def execute(self, programs: list[Program]) -> list[Outcome]:
        """As `Worker.execute`, on the server that has what the programs name."""
        if self._names_preloaded(programs):
            return self._full.execute(programs)
        answers = self.lean.execute(programs)
        if self._full is not self.lean and any(self._missed(answer.execution) for answer in answers):
            return self._full.execute(programs)
        return answers

    def _names_preloaded(self, programs: list[Program]) -> bool:
        return any(name in step for program in programs for step in program.steps for name in self._names)

    def _missed(self, execution: Execution) -> bool:
        """Whether a program asked for a package that the lean server may lack, under a name that it put together."""
        return execution.error is not None and self._missing.search(execution.error) is not None

    def pids(self) -> list[int]:
        """Process ids of the servers that run."""
        return [worker.pid for worker in {self.lean, self._full} if worker.pid is not None]

    def close(self) -> None:
        """End both servers. Idempotent."""
        self.lean.close()
        self._full.close()
