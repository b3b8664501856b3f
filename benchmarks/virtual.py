"""An event loop on a virtual clock, and services of a fixed latency on it: hours of a GPU in seconds of a CPU.

Sleeping costs nothing: when nothing is ready, the clock jumps to the next timer. What runs in an executor runs at once,
in no time. `FixedLatencyEngine` makes one token for each of at most `concurrency` sequences every `step_s`; the others
wait in order of arrival. `FixedLatencyRunner` runs `workers` programs at a time, each for `program_s`.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeVar

from perseid.engine import Completion, Generate
from perseid.sandbox import Execution, State

T = TypeVar("T")
MEDIAN_TOKENS, SIGMA, MOST_TOKENS = 90, 1.1, 2048  # of a log-normal step length; its mean is about 160


class VirtualLoop(asyncio.SelectorEventLoop):
    """`run_virtual` makes it."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        done = self.create_future()
        done.set_result(func(*args))
        return done


class _Jumping(selectors.SelectSelector):
    """Waits by moving the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is ready and no timer is set: the loop would wait for ever")
        self._loop.now += max(0.0, timeout)
        return []


def run_virtual(work: Coroutine[Any, Any, T]) -> tuple[T, float]:
    """The result of `work`, and the virtual seconds it took."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(work)
        return result, runner.get_loop().time()


@dataclass
class _Call:
    """Completions of one call, and how many are still to come."""

    completions: list[Completion | None]
    missing: int
    done: asyncio.Future[None]


class FixedLatencyEngine:
    weights = "fixed latency"

    def __init__(self, rule: Callable[[str, int], Completion], concurrency: int = 256, step_s: float = 0.02) -> None:
        self.rule, self.slots, self.step_s = rule, concurrency, step_s
        self.concurrency = concurrency
        self.tokens = 0
        self._running = 0
        self._queue: deque[tuple[_Call, int, Generate]] = deque()

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        call = _Call([None] * len(requests), len(requests), asyncio.get_running_loop().create_future())
        self._queue.extend((call, index, request) for index, request in enumerate(requests))
        self._fill()
        await call.done
        return [completion for completion in call.completions if completion is not None]

    def _fill(self) -> None:
        """Sequences join at the next step of the batch."""
        loop = asyncio.get_running_loop()
        boundary = math.ceil(loop.time() / self.step_s - 1e-6) * self.step_s
        while self._queue and self._running < self.slots:
            call, index, request = self._queue.popleft()
            completion = self.rule(request.prompt.text, request.seed)
            self._running += 1
            loop.call_at(boundary + completion.num_tokens * self.step_s, self._finish, call, index, completion)

    def _finish(self, call: _Call, index: int, completion: Completion) -> None:
        self._running -= 1
        self.tokens += completion.num_tokens
        call.completions[index] = completion
        call.missing -= 1
        if not call.missing:
            call.done.set_result(None)
        self._fill()


class FixedLatencyRunner:
    """`program_s` 0 answers at once. What a program prints is a function of its text."""

    version = "fixed latency"

    def __init__(self, workers: int = 2, program_s: float = 0.03) -> None:
        self.workers, self.program_s, self.ran = workers, program_s, 0
        self._free = [0.0] * workers

    async def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        self.ran += len(pairs)
        if self.program_s:
            loop = asyncio.get_running_loop()
            for _ in pairs:
                earliest = self._free.index(min(self._free))
                self._free[earliest] = max(loop.time(), self._free[earliest]) + self.program_s
                last = self._free[earliest]
            await asyncio.sleep(last - loop.time())
        return [_execution(code) for _, code in pairs]


def _execution(code: str) -> tuple[Execution, State]:
    status = "error" if code.endswith("0") else "ok"
    printed = code[-1] if code.startswith("print") else ""
    return Execution(status, printed, None, 0.0, 0.0, 0, 0, False, "fast"), State()  # type: ignore[arg-type]


def long_tailed(draw: float) -> int:
    """A step's length in tokens for a number in (0, 1)."""
    return max(1, min(MOST_TOKENS, round(MEDIAN_TOKENS * math.exp(SIGMA * NormalDist().inv_cdf(draw)))))


def scripted_step(step: str, answer: str) -> Callable[[str, int], Completion]:
    """A policy of about twelve distinct steps a place, a tenth of which fail, answers among them from the third on."""

    def rule(prompt: str, seed: int) -> Completion:
        digest = hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()
        draw, which, ends = (int.from_bytes(digest[start : start + 8], "big") / 2**64 for start in (0, 8, 16))
        depth, number = prompt.count(step), int(which * 12)
        if depth >= 2 and ends < 0.3 * (depth - 1):
            return Completion(f"print {number % 10}", answer, long_tailed(draw))
        return Completion(f"step {depth} {number}", step, long_tailed(draw))

    return rule
