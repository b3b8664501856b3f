"""What a search may ask. Each request is answered by a list, in the order of what was asked.

| request | asked by  | answered by |
|---|---|---|
| Propose | `propose` | `list[Completion]`, one a seed |
| Execute | `execute` | `list[Outcome]`, one a code |
| Score   | `score`   | `list[float]`, one a prefix, in [-1, 1] |
| Grade   | `grade`   | `list[bool \| None]`, one an answer; None: cannot tell |

No request carries a right answer, and none but `Grade` is answered by who knows one. Whoever drives a search answers
a request with the list that stands beside it here; that is all the types below trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar, cast

from perseid.engine import Completion, Prompt, Sampling

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Propose:
    """Continue `prompt` once a seed. `rollout` (from 1) says how far the search is: drivers balance by it."""

    prompt: Prompt
    seeds: tuple[int, ...]
    sampling: Sampling
    rollout: int = 1


@dataclass(frozen=True, slots=True)
class Execute:
    """Run each code from where `prefix` (the sources that ran, in order) leaves the interpreter.

    `parent` and `keep` let a driver hold interpreter states: the state after codes[i] will be asked for again under the
    node id keep[i], or never where that is "".
    """

    parent: str
    prefix: tuple[str, ...]
    codes: tuple[str, ...]
    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Score trajectory prefixes, prompt included."""

    prefixes: tuple[Prompt, ...]


@dataclass(frozen=True, slots=True)
class Grade:
    """Compare answers with what only the grader knows."""

    answers: tuple[str, ...]


class Outcome(NamedTuple):
    """What a tree keeps of an execution: nothing that a clock or a machine decides."""

    status: str
    stdout: str
    error: str
    tier: str


Request: TypeAlias = Propose | Execute | Score | Grade
Answers: TypeAlias = list[Completion] | list[Outcome] | list[float] | list[bool | None]
Asking: TypeAlias = Generator[Request, Answers, T]  # asks, is sent the answers, returns a T


def propose(request: Propose) -> Asking[list[Completion]]:
    return cast(list[Completion], (yield request))


def execute(request: Execute) -> Asking[list[Outcome]]:
    return cast(list[Outcome], (yield request))


def score(request: Score) -> Asking[list[float]]:
    return cast(list[float], (yield request))


def grade(request: Grade) -> Asking[list[bool | None]]:
    return cast(list[bool | None], (yield request))


def derived_seeds(seed: int, problem_id: str, node_id: str, samples: Iterable[int | str]) -> tuple[int, ...]:
    """A number below 2**64 for each sample: the first 8 bytes of sha256 over what makes the draw, so that any order of
    work gives the same ones."""
    common = hashlib.sha256(f"{seed}\0{problem_id}\0{node_id}\0".encode())
    seeds = []
    for sample in samples:
        digest = common.copy()
        digest.update(str(sample).encode())
        seeds.append(int.from_bytes(digest.digest()[:8], "big"))
    return tuple(seeds)
