"""The fast tier: `pydantic-monty`, a Rust Python interpreter made for model-written code, behind one method.

It runs thousands of fresh programs a second in worker processes that reach no file, no network and no environment,
and the whole state of a session is about a kilobyte, so a tree node keeps its state and a step runs only itself.

What it cannot run it must not judge: `FastTier.run` answers None ("ask the CPython tier") for a module or syntax that
monty lacks, for an error that may stem from the interpreter rather than from the code, and for a program that ended its
process. Which tier answers is so the program's doing alone: a process that something else ended is replaced and asked
again, and is at last a `sandbox_error`.
It is not CPython to the letter: `docs/sandbox.md` lists the known differences, `tests/perseid/sandbox` holds the list
to a generated corpus.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from perseid.sandbox import patterns
from perseid.sandbox.execution import Execution, SandboxUnavailable, State, Status, infrastructure_failure
from perseid.sandbox.guardian import Guardian
from perseid.sandbox.interpreter import Answer, Interpreter, InterpreterLost, Task, program
from perseid.sandbox.limits import Limits
from perseid.sandbox.prelude import Prelude
from perseid.sandbox.routing import doubtful, prints_otherwise, routed_to_cpython
from perseid.sandbox.wire import Raised

_ERROR_CHARS: Final = 2000
# A state whose steps since the last snapshot take longer than this is kept: reading and writing it takes about as long.
_DEAR_S: Final = 100e-6
# What running a step again takes beside the step's own time.
_FEED_S: Final = 10e-6

# monty rounds 2.675 to 2.68 at two digits; formatting is correctly rounded in both interpreters.
_PATCHES: Final = """
_perseid_round = round
def round(number, ndigits=None):
    if ndigits is None:
        return _perseid_round(number)
    if isinstance(number, float) and ndigits >= 0 and number - number == 0:
        return float(format(number, "." + str(ndigits) + "f"))
    return _perseid_round(number, ndigits)
"""


class FastTier:
    """`workers` interpreter processes. Thread-safe.

    Raises `SandboxUnavailable` where monty is missing, `ValueError` when it cannot load `prelude`.
    """

    def __init__(self, limits: Limits, workers: int, prelude: str) -> None:
        self._limits = limits
        self._workers = workers
        self._source = f"{_PATCHES}\n{prelude}"
        self._guardian: Guardian | None = None
        self._interpreters: list[Interpreter] = []
        self._idle: list[Interpreter] = []
        self._num_idle = threading.Semaphore(workers)
        self._mine = threading.local()
        self._fresh: bytes | None = None

    def __enter__(self) -> FastTier:
        try:
            program()
            self._guardian = Guardian()
        except OSError as error:
            raise SandboxUnavailable(f"fast tier: {error}; or construct the Sandbox with tier='cpython'") from error
        self._interpreters = [Interpreter(self._limits, self._guardian) for _ in range(self._workers)]
        self._idle = list(self._interpreters)
        try:
            self._load_prelude()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for interpreter in self._interpreters:
            interpreter.end()
        if self._guardian is not None:
            self._guardian.close()

    def _load_prelude(self) -> None:
        """Try the whole prelude out, and keep the state after what must run at the start of every program."""
        try:
            answer = self._interpreters[0].run(Task(None, (), self._source))
        except InterpreterLost as loss:
            raise SandboxUnavailable(f"{loss}; or construct the Sandbox with tier='cpython'") from loss
        if answer is None or answer.raised is not None:
            raised = "an end of the interpreter" if answer is None else answer.raised
            raise ValueError(
                f"prelude: expected plain Python that the fast tier runs, got {raised}; "
                "rewrite it, or construct the Sandbox with tier='cpython'"
            )
        self._prelude = Prelude(self._source)
        if self._prelude.start:
            answer = self._interpreters[0].run(Task(None, (), self._prelude.start, keep_from_s=0.0))
            assert answer is not None
            assert answer.snapshot is not None
            self._fresh = answer.snapshot

    def run(self, state: State, codes: Sequence[str], keep: bool) -> list[tuple[Execution, State] | None]:
        """Run each of `codes` by itself as the next step of `state`; with `keep`, the states to extend further.

        A failed step leaves `state`. None for a code of which CPython must decide.
        """
        if any(_is_cpythons(state.steps[: number + 1]) for number in range(state.num_kept, len(state.steps))):
            return [None] * len(codes)
        with self._num_idle:
            interpreter = self._take()
            try:
                return [self._step(interpreter, state, code, keep) for code in codes]
            finally:
                self._idle.append(interpreter)

    def _take(self) -> Interpreter:
        """An idle interpreter; the one that this thread had last if it can be had, for it shares a core with it."""
        try:
            interpreter: Interpreter = self._mine.interpreter
            self._idle.remove(interpreter)
        except (AttributeError, ValueError):
            interpreter = self._mine.interpreter = self._idle.pop()
        return interpreter

    def _step(self, interpreter: Interpreter, state: State, code: str, keep: bool) -> tuple[Execution, State] | None:
        steps = (*state.steps, code)
        if _is_cpythons(steps):
            return None
        before, again_s = self._before(steps, state.num_kept), state.again_s + _FEED_S
        keep_from_s = math.inf
        if keep:
            keep_from_s = 0.0 if any(map(self._prelude.reads_clock, steps)) else _DEAR_S - again_s
        task = Task(self._fresh if state.num_kept == 0 else state.snapshot, before, code, keep_from_s)
        try:
            answer = interpreter.run(task)
        except InterpreterLost as loss:
            return infrastructure_failure(str(loss), "fast"), state
        execution = None if answer is None else self._execution(answer, steps)
        if answer is None or execution is None:
            return None
        if not keep or execution.status != "ok":
            return execution, state
        if answer.snapshot is not None:
            return execution, State(steps, answer.snapshot, num_kept=len(steps))
        return execution, State(steps, state.snapshot, False, state.num_kept, again_s + answer.wall_s)

    def _before(self, steps: tuple[str, ...], num_kept: int) -> tuple[str, ...]:
        """What to run before the last of `steps` where the first `num_kept` have run: the others, with what each needs
        of the prelude."""
        before: list[str] = []
        for number in range(num_kept, len(steps)):
            if added := self._prelude.before(steps[: number + 1]):
                before.append(added)
            before.append(steps[number])
        return tuple(before[:-1])

    def _execution(self, answer: Answer, steps: tuple[str, ...]) -> Execution | None:
        if answer.overflowed:
            message = f"printed more than {self._limits.output_bytes} bytes"
            return _execution("output", answer.stdout, message, answer.wall_s, None)
        if prints_otherwise(answer.stdout):
            return None
        if answer.raised is None:
            return _execution("ok", answer.stdout, None, answer.wall_s, 0)
        status = self._status(answer.raised, answer.wall_s, steps)
        if status is None:
            return None
        text = f"{answer.raised.kind.__name__}: {answer.raised.text}"[:_ERROR_CHARS]
        message = "".join([char if char.isprintable() else " " for char in text])
        return _execution(status, answer.stdout, message, answer.wall_s, 1 if status == "error" else None)

    def _status(self, raised: Raised, wall_s: float, steps: tuple[str, ...]) -> Status | None:
        if issubclass(raised.kind, TimeoutError) and "limit exceeded" in raised.text:
            return "timeout" if wall_s >= self._limits.timeout_s else None
        return None if doubtful(raised, (self._source, *steps)) else "error"


def _is_cpythons(steps: tuple[str, ...]) -> bool:
    """Whether the last of `steps` is left to CPython before it runs."""
    return routed_to_cpython(steps[-1]) or not patterns.alike(steps)


def _execution(status: Status, stdout: str, error: str | None, wall_s: float, exit_code: int | None) -> Execution:
    return Execution(status, stdout, error, wall_s, wall_s, exit_code, 0, status == "output", "fast")
