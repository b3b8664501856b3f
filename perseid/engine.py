"""The seams to the models: what search asks of a policy and of a process preference model (PPM).

Filled in `models/engines/` and by scripted fakes in tests. Both are asynchronous and batch first: a call takes a
sequence and returns one of the same length and order. A request that the engine will never take is answered by a
`Completion` that says why (`refusal`); a failure of the engine itself is raised as `EngineFailure`, never returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True)
class Sampling:
    """How to continue a prompt. `temperature` 0 is greedy; `max_tokens` counts generated tokens."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generate:
    """One continuation of `prompt`; equal requests get equal answers from a batch-invariant engine."""

    prompt: str
    seed: int
    sampling: Sampling


class Completion(NamedTuple):
    """Generated `text` without its stop string; `stop` is the stop string met, "" if the length limit ended it.

    num_tokens: generated tokens, the stop string's included. refusal: why the engine will never answer this request (a
    prompt that leaves no room in the context); "" for an answer.
    """

    text: str
    stop: str
    num_tokens: int
    refusal: str = ""


class EngineFailure(RuntimeError):
    """The engine or scorer itself failed. Never an answer, never a reward: the run stops, its journal goes on later."""


class Engine(Protocol):
    """A policy that continues text.

    weights: the content hash of the weights behind it.
    concurrency: how many sequences it decodes at once, where it takes calls at any time and answers each as it is done
        (continuous batching); 0 where it takes one call at a time, so that the wider a call the better.
    """

    weights: str
    concurrency: int

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]: ...


class Scorer(Protocol):
    """A PPM that scores trajectory prefixes (prompt and steps), each in [-1, 1]."""

    weights: str

    async def score(self, prefixes: Sequence[str]) -> list[float]: ...
