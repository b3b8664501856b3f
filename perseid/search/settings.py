"""What every method's section has: how texts are drawn, and what the kernel holds a search to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from perseid.engine import Sampling
from perseid.section import Section

Temperature = Annotated[float, Field(ge=0.01, le=100.0)]  # below, logits overflow; above, nothing is left of them
Tokens = Annotated[int, Field(ge=1, le=131_072)]  # the longest contexts there are


@dataclass(frozen=True, slots=True)
class Limits:
    """What ends a node or a search, whatever its method wants; 0 is no limit.

    depth: steps. failures: in a row, which close a node. tokens: generated for one problem. nodes: of one tree.
    seconds: a problem's, while it is worked on and does not wait.
    """

    depth: int = 0
    failures: int = 1
    tokens: int = 0
    nodes: int = 0
    seconds: float = 0.0


class MethodSection(Section):
    """`LENGTH` names the field that holds how long one completion may be, in tokens. Each method has its `kind`."""

    kind: str
    temperature: Temperature = 1.0
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    top_k: int = Field(0, ge=0, le=10_000_000)  # the most likely tokens that are drawn from; 0: all
    min_p: float = Field(0.0, ge=0.0, le=1.0)  # least probability of a token, as a share of the likeliest one's
    repetition_penalty: float = Field(1.0, ge=0.01, le=100.0)  # above 1 makes tokens of prompt and text rarer
    ppm: bool = False  # the PPM of the round before scores what is drafted
    limit_tokens: int = Field(0, ge=0, le=1_000_000_000)  # generated for one problem; 0: none
    limit_nodes: int = Field(0, ge=0, le=1_000_000_000)  # of one tree; 0: none
    limit_s: float = Field(0.0, ge=0.0, le=604_800.0)  # a problem's, while it is worked on and does not wait; 0: none

    LENGTH: ClassVar[str]

    @property
    def length(self) -> int:
        """Tokens of the longest completion."""
        return int(getattr(self, self.LENGTH))

    @property
    def most_calls(self) -> int:
        """Completions that one problem takes at most."""
        raise NotImplementedError

    @property
    def at_once_at_most(self) -> int:
        """Completions that are asked for before limits are looked at again."""
        raise NotImplementedError

    @property
    def most_tokens(self) -> int:
        """Tokens that are generated for one problem at most."""
        most = self.most_calls * self.length
        return min(most, self.limit_tokens + self.at_once_at_most * self.length) if self.limit_tokens else most

    def sampling(self, stop: tuple[str, ...]) -> Sampling:
        drawn = (self.top_k, self.min_p, self.repetition_penalty)
        return Sampling(self.temperature, self.top_p, self.length, stop, *drawn)

    def limits(self, depth: int, failures: int = 1) -> Limits:
        return Limits(depth, failures, self.limit_tokens, self.limit_nodes, self.limit_s)
