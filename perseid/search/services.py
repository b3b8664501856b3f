"""What a search is served by. The sandbox's seam and the grader's are declared here, in their consumer's layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perseid.engine import Engine, Scorer
from perseid.sandbox import Execution, State
from perseid.search.requests import POLICY, PPM
from perseid.search.states import MAX_BYTES


class Runner(Protocol):
    """Runs steps; takes calls at any time. `perseid.sandbox.AsyncSandbox` is one.

    version: names what decides how a program ends: prelude, limits, semantics.
    """

    @property
    def version(self) -> str: ...

    async def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]: ...


class Judge(Protocol):
    """Knows the right answers and tells only whether one is right, or that it cannot. `perseid.graders.Judge` is one.

    version: names what decides a verdict, 16 hex digits: the gold, and how answers are compared with it.
    """

    @property
    def version(self) -> str: ...

    async def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool | None]:
        """None: cannot tell. Never a reward, and not wrong."""


@dataclass(frozen=True, slots=True)
class Services:
    """engine, scorer: the policy and the PPM; the PPM is needed where the method asks it. others: further roles.

    Without `grader` the search is inference.
    live_trees: trees under way at once; the others wait for one to end, which bounds memory.
    state_bytes: how much the interpreter states of open nodes may take.
    """

    engine: Engine
    scorer: Scorer | None
    sandbox: Runner
    grader: Judge | None
    live_trees: int = 4096
    state_bytes: int = MAX_BYTES
    others: Mapping[str, Engine] = field(default_factory=dict)

    @property
    def engines(self) -> dict[str, Engine]:
        """Who proposes, by role."""
        return {POLICY: self.engine, **self.others}

    @property
    def roles(self) -> set[str]:
        """Who is there to be asked."""
        return {*self.engines, *([PPM] if self.scorer is not None else [])}


@dataclass(frozen=True, slots=True)
class Update:
    """How far a run of searches is, the replayed part included.

    done, total: trees. solved: of those done. tokens: generated. executions: programs that were run; reused: those that
    were not, because the same program had been. in_flight: sequences that the engine is asked for now.
    """

    done: int = 0
    total: int = 0
    solved: int = 0
    tokens: int = 0
    executions: int = 0
    reused: int = 0
    in_flight: int = 0


Progress = Callable[[Update], None]
