"""The coroutines do what the methods do, and do not hold up the loop."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from perseid.sandbox import AsyncSandbox, Limits, Sandbox

DOCUMENT = Path(__file__).parents[3] / "docs" / "sandbox.md"


async def _all_methods() -> list[object]:
    async with AsyncSandbox(Sandbox(Limits(timeout_s=10), workers=2, preload=())) as sandbox:
        single = await sandbox.run("print(input())", stdin="x\n")
        many = await sandbox.run_many(["print(1)", "print(2)"], tier="cpython")
        first, state = await sandbox.extend(None, "a = 1")
        [(second, _)] = await sandbox.extend_many([(state, "print(a)")])
        grade = await sandbox.grade("def f():\n    return 1", "f", "assert f() == 1")
        return [single.stdout, [execution.stdout for execution in many], first.status, second.stdout, grade.verdict]


def test_every_coroutine_answers_as_its_method_does() -> None:
    assert asyncio.run(_all_methods()) == ["x\n", ["1\n", "2\n"], "ok", "1\n", "passed"]


async def _ticks_during_a_run() -> int:
    async with AsyncSandbox(Sandbox(Limits(timeout_s=10), preload=())) as sandbox:
        running = asyncio.create_task(sandbox.run("import time\ntime.sleep(0.5)"))
        ticks = 0
        while not running.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert running.result().status == "ok"
        return ticks


def test_the_loop_goes_on_while_a_program_runs() -> None:
    assert asyncio.run(_ticks_during_a_run()) > 5


def test_an_asynchronous_sandbox_runs_as_many_at_a_time_as_it_has_workers() -> None:
    async def both() -> float:
        async with AsyncSandbox(Sandbox(Limits(timeout_s=20), workers=2, preload=())) as sandbox:
            await asyncio.gather(*[sandbox.run("print(1)", tier="cpython") for _ in range(2)])
            started = time.monotonic()
            await asyncio.gather(*[sandbox.run("import time\ntime.sleep(1.5)") for _ in range(2)])
            return time.monotonic() - started

    assert asyncio.run(both()) < 2.9


def test_the_documents_example_runs_as_printed() -> None:
    [example] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    exec(example, {})
