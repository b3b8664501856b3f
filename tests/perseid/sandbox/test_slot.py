"""Which of its two servers a slot asks: the full one for what it alone has, and never for a program's own words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perseid.sandbox import Isolation, Limits
from perseid.sandbox.slot import Slot
from perseid.sandbox.worker import Program, WorkerConfig

ISOLATION: Isolation = "auto"


@pytest.fixture(scope="module")
def slot() -> Iterator[Slot]:
    opened = Slot(WorkerConfig(Limits(), ISOLATION, "", ("mpmath",)))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "code", ["raise ModuleNotFoundError('x')", "import nothing", "raise ModuleNotFoundError(\"No module named 'mp'\")"]
)
def test_a_module_that_neither_server_has_is_not_looked_for_twice(slot: Slot, code: str) -> None:
    [answer] = slot.execute([Program("program", (code,))])
    assert answer.execution.status == "error"
    assert slot.pids() == [slot.lean.pid]


@pytest.mark.parametrize("name", ["'mp' 'math'", "'mp' 'math.libmp'"])
def test_a_package_under_a_name_put_together_is_found(name: str) -> None:
    slot = Slot(WorkerConfig(Limits(), ISOLATION, "", ("mpmath",)))
    try:
        [answer] = slot.execute([Program("program", (f"print(__import__({name}).__name__)",))])
        assert answer.execution.stdout == "mpmath\n"
        assert len(slot.pids()) == 2
    finally:
        slot.close()
