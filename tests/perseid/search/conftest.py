"""A toy world: problems, a scripted policy, a scorer and an in-process interpreter that stands in for the sandbox."""

import asyncio
import contextlib
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.engines.scripted import Choices, ScriptedEngine
from perseid.engine import Completion, Generate, Prompt
from perseid.graders import Judge
from perseid.problems.problem import Gold, Problem
from perseid.sandbox import Execution, State
from perseid.search import Services

STEP, ANSWER = "<|end_of_step|>", "<|end_of_answer|>"


def options(prompt: str) -> list[tuple[str, str]]:
    """What the toy policy may write: read the numbers, combine them, print. Some of it fails, some is cut short."""
    depth = prompt.count(STEP)
    if depth == 0:
        return [("a = [int(w) for w in q.split()]", STEP), ("a = q", STEP), ("# try\na = nope(q)", STEP)]
    if depth == 1:
        return [(f"b = {code}", STEP) for code in ("sum(a)", "max(a)", "min(a)", "a[0] * a[1]")] + [("b = a", "")]
    return [("# out\nprint(b)", ANSWER), ("print(a)", ANSWER), ("c = b", STEP), ("pass", ANSWER)]


@dataclass
class Interpreter:
    """Runs steps in this process, the whole prefix each time. `ran` counts the steps that were asked for.

    What fails among the steps before is an error of the step after them, as the sandbox has it. Programs see `late`.
    """

    ran: int = 0
    late: bool = False
    failing_at: int = -1
    version: str = "in process"

    async def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        return [self._extend(state or State(), code) for state, code in pairs]

    def _extend(self, state: State, code: str) -> tuple[Execution, State]:
        self.ran += 1
        if self.ran == self.failing_at:
            return _execution("sandbox_error", "", "worker lost"), state
        names: dict[str, object] = {"late": self.late}
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                for step in state.steps:
                    exec(step, names)
            with contextlib.redirect_stdout(printed):
                exec(code, names)
        except Exception as error:
            return _execution("error", printed.getvalue(), f"{type(error).__name__}: {error}"), state
        return _execution("ok", printed.getvalue(), None), State((*state.steps, code))


def _execution(status: str, stdout: str, error: str | None) -> Execution:
    return Execution(status, stdout, error, 0.0, 0.0, None, 0, False, "fast")  # type: ignore[arg-type]


@dataclass
class Late:
    """A service whose answers come in an order of their own: each call waits a few turns of the loop, drawn by chance.

    Over an engine it batches continuously: calls of any trees are under way together.
    """

    service: object
    seed: int = 0
    concurrency: int = 16
    under_way: int = 0
    most: int = 0  # sequences asked for at once

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.weights = getattr(self.service, "weights", "")
        self.version = getattr(self.service, "version", "")

    async def _wait(self) -> None:
        for _ in range(self.draw.randrange(6)):
            await asyncio.sleep(0)

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        self.under_way += len(requests)
        self.most = max(self.most, self.under_way)
        await self._wait()
        self.under_way -= len(requests)
        return await self.service.generate(requests)  # type: ignore[attr-defined, no-any-return]

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]:
        await self._wait()
        return await self.service.score(prefixes)  # type: ignore[attr-defined, no-any-return]

    async def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]:
        await self._wait()
        return await self.service.extend_many(pairs)  # type: ignore[attr-defined, no-any-return]


@dataclass(frozen=True)
class LengthScorer:
    """A PPM that likes long prefixes."""

    weights: str = "length"

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]:
        return [min(len(prefix.text) / 200, 1.0) for prefix in prefixes]


@dataclass(frozen=True)
class Toy:
    engine: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(Choices(options)))
    scorer: LengthScorer = LengthScorer()

    def problems(self, count: int) -> list[Problem]:
        return [Problem(f"p{i:03}", "toy", "number", f"{i + 2} {i + 5}") for i in range(count)]

    def gold(self, count: int) -> list[Gold]:
        return [Gold(f"p{i:03}", str((i + 2) * (i + 5))) for i in range(count)]

    def interpreter(self, failing_at: int = -1) -> Interpreter:
        return Interpreter(failing_at=failing_at)

    def late(self, count: int, seed: int = 0, **replaced: object) -> Services:
        """Services of which none answers in order."""
        late = {"engine": Late(self.engine, seed), "scorer": Late(self.scorer, seed + 1)}
        return self.services(count, **{**late, "sandbox": Late(Interpreter(), seed + 2), **replaced})

    def services(self, count: int, **replaced: object) -> Services:
        parts = {
            "engine": self.engine,
            "scorer": self.scorer,
            "sandbox": Interpreter(),
            "grader": Judge(self.problems(count), self.gold(count)),
        }
        return Services(**{**parts, **replaced})  # type: ignore[arg-type]


@pytest.fixture
def toy() -> Toy:
    return Toy()


@pytest.fixture
def golden() -> Path:
    return Path(__file__).parents[2] / "golden"
