"""The seams to the models: what search asks of a policy and of a process preference model (PPM).

Filled in `models/engines/` and by scripted fakes in tests. Both are asynchronous and batch first: a call takes a
sequence and returns one of the same length and order. A request that the engine will never take is answered by a
`Completion` that says why (`refusal`); a failure of the engine itself is raised as `EngineFailure`, never returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

END: Final = "\x03"  # in a stop list and at the end of a text: the model's own end of sequence


class Message(NamedTuple):
    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(NamedTuple):
    """What a model is told, and how its answer begins.

    messages: what is told; of several, all but the last are instructions and examples.
    steps: the answer so far. Each is encoded by itself, so the tokens of a prefix never depend on what follows it.
    """

    messages: tuple[Message, ...]
    steps: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, *steps: str) -> "Prompt":
        """One message of a user."""
        return cls((Message("user", text),), steps)

    @property
    def text(self) -> str:
        """All in one: what a checkpoint without a chat template is shown, and what logs and scripted engines see.

        An instruction and an answered example are followed by a blank line.
        """
        if len(self.messages) == 1:
            return self.messages[0].content + "".join(self.steps)
        told = (m.content if m.role == "user" else f"{m.content}\n\n" for m in self.messages)
        return "".join((*told, *self.steps))


@dataclass(frozen=True)
class Sampling:
    """How to continue a prompt.

    temperature: 0 is greedy. max_tokens: generated ones. stop: strings of any length, each met wherever the text spells
    it, and `END`. top_k: the most likely tokens that are drawn from, 0 for all. min_p: in [0, 1], of the likeliest
    token's probability, what a token needs at least. repetition_penalty: above 1 makes tokens of prompt and text rarer.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


class Generate(NamedTuple):
    """One continuation of `prompt`; equal requests get equal answers from a batch-invariant engine."""

    prompt: Prompt
    seed: int
    sampling: Sampling


class Completion(NamedTuple):
    """Generated `text` without its stop string; `stop` is the one that was met, "" if the length limit ended it.

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

    async def score(self, prefixes: Sequence[Prompt]) -> list[float]: ...
