"""What a search is served by. The sandbox's seam and the grader's are declared here, in their consumer's layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from perseid.engine import Engine, Scorer
from perseid.sandbox import Execution, State


class Runner(Protocol):
    """Runs steps. `perseid.sandbox.Sandbox` is one."""

    def extend_many(self, pairs: Sequence[tuple[State | None, str]]) -> list[tuple[Execution, State]]: ...


class Judge(Protocol):
    """Knows the right answers and tells only whether one is right. `perseid.grading.Grader` is one."""

    def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool]: ...


@dataclass(frozen=True, slots=True)
class Services:
    """`scorer` is needed when the settings say `ppm`; without `grader` the search is inference.

    `version` names whatever else decides an answer (the sandbox's prelude, the gold): part of a journal's key.
    """

    engine: Engine
    scorer: Scorer | None
    sandbox: Runner
    grader: Judge | None
    version: str = ""


@dataclass(frozen=True, slots=True)
class Update:
    """How far a run of searches is: trees finished of `total`, solved so far, tokens generated so far."""

    done: int
    total: int
    solved: int
    tokens: int


Progress = Callable[[Update], None]


class SandboxFailure(RuntimeError):
    """The sandbox itself failed. Never a reward: the run stops, and its journal lets it go on later."""
