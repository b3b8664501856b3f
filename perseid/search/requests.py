"""What a search may ask, and of whom. Each request is answered by a list, in the order of what was asked.

| request | asked by  | answered by |
|---|---|---|
| Propose | `propose` | `list[Completion]`, one a seed |
| Execute | `execute` | `list[Outcome]`, one a code |
| Score   | `score`   | `list[float]`, one a prefix, in [-1, 1] |
| Grade   | `grade`   | `list[bool \| None]`, one an answer; None: cannot tell |

`Batch` holds requests that are asked side by side, and is answered by their answers. A role names who answers a
`Propose` or a `Score`: the policy, the PPM, or another model of the method's.

No request carries a right answer, and none but `Grade` is answered by who knows one. Whoever drives a search answers
a request with the list that stands beside it here; that is all the types below trust.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

from perseid.engine import Completion, Prompt, Sampling

T = TypeVar("T")
POLICY: Final = "policy"
PPM: Final = "ppm"


class Propose(NamedTuple):
    """Continue `prompt` once a seed. `rollout` (from 1) says how far the search is: drivers balance by it."""

    prompt: Prompt
    seeds: tuple[int, ...]
    sampling: Sampling
    rollout: int = 1
    role: str = POLICY


class Execute(NamedTuple):
    """Run each code from where `prefix` (the sources that ran, in order) leaves the interpreter.

    `parent` and `keep` let a driver hold interpreter states: the state after codes[i] will be asked for again under the
    node id keep[i], or never where that is "".
    """

    parent: str
    prefix: tuple[str, ...]
    codes: tuple[str, ...]
    keep: tuple[str, ...]


class Score(NamedTuple):
    """Score trajectory prefixes, prompt included."""

    prefixes: tuple[Prompt, ...]
    role: str = PPM


class Grade(NamedTuple):
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


class Batch(NamedTuple):
    """Two requests or more, asked side by side; answered by the list of their answers."""

    asks: tuple[Request, ...]


Asking: TypeAlias = Generator[Request | Batch, Any, T]  # asks, is sent the answers, returns a T


def propose(request: Propose) -> Asking[list[Completion]]:
    return cast(list[Completion], (yield request))


def execute(request: Execute) -> Asking[list[Outcome]]:
    return cast(list[Outcome], (yield request))


def score(request: Score) -> Asking[list[float]]:
    return cast(list[float], (yield request))


def grade(request: Grade) -> Asking[list[bool | None]]:
    return cast(list[bool | None], (yield request))


def together(askings: Sequence[Asking[T]]) -> Asking[list[T]]:
    """What each comes to. What they ask at the same time is one `Batch`, and all wait for the slowest of it."""
    if len(askings) == 1:
        return [(yield from askings[0])]
    results: dict[int, T] = {}
    given: dict[int, Any] = dict.fromkeys(range(len(askings)))
    while given:
        asked: dict[int, Request | Batch] = {}
        for index, answers in given.items():
            try:
                asked[index] = askings[index].send(answers)
            except StopIteration as end:
                results[index] = end.value
        given = dict(zip(asked, (yield from _side_by_side(list(asked.values()))), strict=True))
    return [results[index] for index in range(len(askings))]


def _side_by_side(asked: Sequence[Request | Batch]) -> Asking[list[Any]]:
    """The answers to each. What is batched already is asked beside the others, not before them."""
    flat = [ask for request in asked for ask in asks_of(request)]
    if not flat:
        return []
    if len(flat) == 1:
        return [(yield flat[0])]
    answers = iter((yield Batch(tuple(flat))))
    return [[next(answers) for _ in r.asks] if isinstance(r, Batch) else next(answers) for r in asked]


def asks_of(request: Request | Batch) -> tuple[Request, ...]:
    """The requests that it is."""
    return request.asks if isinstance(request, Batch) else (request,)


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
