"""The sandbox for an event loop: the same methods as coroutines, each waiting on a thread of the loop's own pool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from perseid.sandbox.execution import Execution, State, Tier
from perseid.sandbox.grading import Grade
from perseid.sandbox.sandbox import Sandbox


class AsyncSandbox:
    """An open or yet unopened `Sandbox` behind coroutines; opens and closes it with its own `async with` block.

    As many calls are in flight as the sandbox has workers; the rest wait without holding up the loop. A cancelled call
    that has begun still runs to its end in the background, under its limits.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._threads = ThreadPoolExecutor(sandbox.workers, thread_name_prefix="perseid-sandbox-async")
        self._calls = 0  # of extend_many, under way

    @property
    def version(self) -> str:
        """As `Sandbox.version`."""
        return self._sandbox.version

    async def __aenter__(self) -> AsyncSandbox:
        await asyncio.to_thread(self._sandbox.__enter__)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._sandbox.__exit__, kind, error, trace)

    async def run(self, code: str, stdin: str = "", tier: Tier | None = None) -> Execution:
        """As `Sandbox.run`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._sandbox.run, code, stdin, tier)

    async def run_many(self, codes: Sequence[str], tier: Tier | None = None) -> list[Execution]:
        """As `Sandbox.run_many`."""
        return await asyncio.to_thread(self._sandbox.run_many, codes, tier)

    async def extend(self, state: State | None, code: str) -> tuple[Execution, State]:
        """As `Sandbox.extend`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._sandbox.extend, state, code)

    async def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        """As `Sandbox.extend_many`; where more calls are under way than there are workers, each call takes one."""
        loop, parts = asyncio.get_running_loop(), max(1, min(len(pairs), self._sandbox.workers - self._calls))
        self._calls += 1
        try:
            size = -(-len(pairs) // parts)
            chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)] if pairs else []
            found = [loop.run_in_executor(self._threads, self._sandbox.extend_in_turn, chunk) for chunk in chunks]
            return [answer for answers in await asyncio.gather(*found) for answer in answers]
        finally:
            self._calls -= 1

    async def grade(self, code: str, entry_point: str, tests: str) -> Grade:
        """As `Sandbox.grade`."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._sandbox.grade, code, entry_point, tests
        )
