"""Waiting for what another process or thread brings about."""

import time
from collections.abc import Callable


def eventually(condition: Callable[[], object], within_s: float = 30.0) -> bool:
    """Whether `condition` comes to hold in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
