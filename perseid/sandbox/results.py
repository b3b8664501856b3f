"""What the CPython tier's steps came to, and the state they left, so that no step runs twice.

A revisit, or a twin among siblings, runs nothing; a step after a dear prefix starts from that prefix's frozen state.

Programs draw their random numbers from fixed seeds, so that a step after the same steps ends the same way; what looks
at the clock is the exception. Only `extend` asks here: a re-execution before training must be one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from perseid.sandbox.worker import Outcome

# Failures that may end otherwise on a calmer machine are run again.
_REPEATABLE = frozenset({"ok", "error", "output", "exited"})


class Results:
    """The most recently used results, by the steps that led to them, within `max_bytes` of text. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[tuple[str, ...], Outcome] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, steps: tuple[str, ...]) -> Outcome | None:
        """The result of the last of `steps` after the others, if it is kept."""
        with self._lock:
            if steps in self._kept:
                self._kept.move_to_end(steps)
            return self._kept.get(steps)

    def put(self, steps: tuple[str, ...], outcome: Outcome) -> None:
        """Keep a result, in place of the least recently used ones if need be."""
        if outcome.execution.status not in _REPEATABLE:
            return
        with self._lock:
            if steps not in self._kept:
                self._num_bytes += _size(steps, outcome)
            self._kept[steps] = outcome
            self._kept.move_to_end(steps)
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= _size(*self._kept.popitem(last=False))


def _size(steps: tuple[str, ...], outcome: Outcome) -> int:
    return sum(len(step) for step in steps) + len(outcome.execution.stdout) + len(outcome.frozen) + 500
