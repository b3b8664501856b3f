"""`Sandbox`: generated code runs here and nowhere else, in two tiers behind one interface.

The fast tier (`perseid.sandbox.fast`) takes what it supports; everything else goes to the CPython tier
(`perseid.sandbox.worker`) at once. A worker that dies loses nothing: the program runs once more on another, and then
the answer is `sandbox_error`, which is never a verdict about the code.
"""

from __future__ import annotations

import hashlib
import itertools
import queue
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

from perseid.sandbox.execution import (
    Execution,
    Isolation,
    State,
    Tier,
    infrastructure_failure,
    refused,
)
from perseid.sandbox.fast import FastTier
from perseid.sandbox.grading import Grade, grade_of
from perseid.sandbox.limits import Limits
from perseid.sandbox.results import Results
from perseid.sandbox.slot import Slot
from perseid.sandbox.worker import Outcome, Program, WorkerConfig, WorkerDied

VERSION: Final = "2"  # raise it when the same program may print or end otherwise than before
PRELOAD: Final = ("sympy", "mpmath", "numpy")
_ATTEMPTS: Final = 2
_RESULT_BYTES: Final = 64 << 20
DEFAULT_LIMITS: Final = Limits()
Input = TypeVar("Input")
Output = TypeVar("Output")


class Sandbox:
    """Runs programs. A context manager; every method may be called from any thread.

    workers: executions at a time, one core each, in [1, 256].
    isolation: `auto` demands layer A and takes layer B where the kernel allows it; `strict` demands both; `none` runs
        without isolation and must be written by name.
    tier: `auto` tries the fast tier first; `cpython` never uses it (re-execution before training).
    prelude: trusted Python source whose names every program sees; loaded once into each tier, never run again.
    preload: packages that programs may import, beside the standard library; the CPython tier imports them before the
        first fork. `SandboxUnavailable` at the first use where one is not installed.
    """

    def __init__(
        self,
        limits: Limits = DEFAULT_LIMITS,
        workers: int = 1,
        isolation: Isolation = "auto",
        tier: Literal["auto", "cpython"] = "auto",
        prelude: str = "",
        preload: tuple[str, ...] = PRELOAD,
    ) -> None:
        if not 1 <= workers <= 256:
            raise ValueError(f"Sandbox.workers: expected a number in [1, 256], got {workers!r}")
        if isolation not in ("auto", "strict", "none"):
            raise ValueError(f"Sandbox.isolation: expected auto, strict or none, got {isolation!r}")
        if tier not in ("auto", "cpython"):
            raise ValueError(f"Sandbox.tier: expected auto or cpython, got {tier!r}")
        if isolation == "none":
            warnings.warn("Sandbox: isolation='none', generated code can reach everything its user can", stacklevel=2)
        self.limits = limits
        self.workers = workers
        decides = repr((VERSION, limits, tier, preload, prelude))
        self.version = hashlib.sha256(decides.encode()).hexdigest()[:16]  # of what decides how a program ends
        self._isolation = isolation
        self._fast = FastTier(limits, workers, prelude) if tier == "auto" else None
        self._slots = [Slot(WorkerConfig(limits, isolation, prelude, preload)) for _ in range(workers)]
        self._results = Results(_RESULT_BYTES)
        self._idle: queue.Queue[Slot] = queue.Queue()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="perseid-sandbox")

    def __enter__(self) -> Sandbox:
        if self._fast is not None:
            self._fast.__enter__()
        for slot in self._slots:
            self._idle.put(slot)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for slot in self._slots:
            slot.close()
        if self._fast is not None:
            self._fast.__exit__(None, None, None)

    def run(self, code: str, stdin: str = "", tier: Tier | None = None) -> Execution:
        """Run one program. `tier` "cpython" skips the fast tier; "fast" is a wish, what it cannot run moves on."""
        reason = self._refusal((code,), stdin)
        if reason is not None:
            return refused(reason, "cpython" if self._fast is None else "fast")
        if self._fast is not None and tier != "cpython" and not stdin:
            [answer] = self._fast.run(State(), [code], keep=False)
            if answer is not None:
                return answer[0]
        return self._on_a_worker([Program("program", (code,), stdin)])[0].execution

    def run_many(self, codes: Sequence[str], tier: Tier | None = None) -> list[Execution]:
        """Run programs, `workers` at a time; answers in the order of `codes`."""
        return self._map(lambda code: self.run(code, tier=tier), codes)

    def extend(self, state: State | None, code: str) -> tuple[Execution, State]:
        """Run `code` as the next step of `state` (None: a fresh program). `stdout` is this step's output only.

        The new state is `state` itself unless the step ended `ok`: a failed step has no effect.
        """
        return self._extend(State() if state is None else state, [code])[0]

    def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        """`extend` for each pair, `workers` at a time; answers in the order of `pairs`."""
        if self.workers == 1 or len(pairs) < 2:
            return self.extend_in_turn(pairs)
        size = -(-len(pairs) // self.workers)
        chunks = [pairs[start : start + size] for start in range(0, len(pairs), size)]
        return [answer for answers in self._threads.map(self.extend_in_turn, chunks) for answer in answers]

    def extend_in_turn(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        """`extend` for each pair, on this thread; neighbours that continue the same state share its interpreter."""
        answers: list[tuple[Execution, State]] = []
        for _, group in itertools.groupby(pairs, key=lambda pair: id(pair[0])):
            [(state, first), *others] = group
            answers += self._extend(State() if state is None else state, [first, *(code for _, code in others)])
        return answers

    def _extend(self, state: State, codes: Sequence[str]) -> list[tuple[Execution, State]]:
        """`extend` with each of `codes`."""
        found: list[tuple[Execution, State] | None] = [None] * len(codes)
        for number, code in enumerate(codes):
            reason = self._refusal((*state.steps, code), "")
            if reason is not None:
                found[number] = refused(reason, "cpython" if self._fast is None else "fast"), state
        if self._fast is not None and not state.needs_cpython:
            asked = [number for number, answer in enumerate(found) if answer is None]
            answers = self._fast.run(state, [codes[number] for number in asked], keep=True)
            for number, answer in zip(asked, answers, strict=True):
                found[number] = answer
        return [
            self._next(state, code) if answer is None else answer for code, answer in zip(codes, found, strict=True)
        ]

    def _next(self, state: State, code: str) -> tuple[Execution, State]:
        """`extend` on the CPython tier."""
        steps = (*state.steps, code)
        execution = self._extended_on_cpython(steps)
        return execution, State(steps, None, True) if execution.status == "ok" else state

    def capabilities(self) -> dict[str, Any]:
        """What is in force, as the server itself reports it: recorded with every run. Starts a server if none runs.

        Raises `SandboxUnavailable` naming the missing facility and the remedy.
        """
        slot = self._idle.get()
        try:
            slot.lean.start()
            report = dict(slot.lean.report or {})
        finally:
            self._idle.put(slot)
        return {"isolation": self._isolation, "fast_tier": self._fast is not None, **report}

    def worker_pids(self) -> list[int]:
        """Process ids of the fork servers that run, for whoever watches them."""
        return [pid for slot in self._slots for pid in slot.pids()]

    def _extended_on_cpython(self, steps: tuple[str, ...]) -> Execution:
        """The last of `steps` after the others: remembered, or from the state they left, or all run again."""
        known = self._results.get(steps)
        if known is not None:
            return known.execution
        before = self._results.get(steps[:-1])
        program = Program("program", steps, keep=True, frozen="" if before is None else before.frozen)
        outcome = self._on_a_worker([program])[0]
        if outcome.how == "stale":
            outcome = self._on_a_worker([replace(program, frozen="")])[0]
        self._results.put(steps, outcome)
        return outcome.execution

    def _refusal(self, steps: tuple[str, ...], stdin: str) -> str | None:
        for name, texts, limit in (
            ("code", steps, self.limits.code_bytes),
            ("stdin", (stdin,), self.limits.stdin_bytes),
        ):
            num_bytes = sum(len(text.encode("utf-8", "replace")) for text in texts)
            if num_bytes > limit:
                return f"{name} of {num_bytes} bytes, limit {limit}"
        return None

    def grade(self, code: str, entry_point: str, tests: str) -> Grade:
        """Judge the function `entry_point` of `code` by `tests` that its process never sees.

        tests: source that calls it by its name or as `candidate`; where it defines `check`, that is called with the
        function. Raises `SandboxUnavailable`.
        """
        reason = self._refusal((code,), "") or self._refusal((tests,), "")
        if reason is not None:
            return grade_of(refused(reason, "cpython"), refused(reason, "cpython"), None)
        programs = [Program("code", (code,)), Program("tests", (tests,), entry_point=entry_point)]
        of_code, of_tests = self._on_a_worker(programs)
        return grade_of(of_code.execution, of_tests.execution, of_tests.how)

    def grade_many(self, items: Sequence[tuple[str, str, str]]) -> list[Grade]:
        """`grade` for each (code, entry point, tests), `workers` at a time; answers in the order of `items`."""
        return self._map(lambda item: self.grade(*item), items)

    def _on_a_worker(self, programs: list[Program]) -> list[Outcome]:
        """Run `programs` on the next idle worker; once more elsewhere if the sandbox itself failed them."""
        answers: list[Outcome] = []
        for _ in range(_ATTEMPTS):
            slot = self._idle.get()
            try:
                answers = slot.execute(programs)
            except WorkerDied as death:
                answers = [Outcome(infrastructure_failure(str(death), "cpython")) for _ in programs]
            finally:
                self._idle.put(slot)
            if all(answer.execution.status != "sandbox_error" for answer in answers):
                break
        return answers

    def _map(self, work: Callable[[Input], Output], items: Sequence[Input]) -> list[Output]:
        if self.workers == 1 or len(items) < 2:
            return [work(item) for item in items]
        return list(self._threads.map(work, items))
