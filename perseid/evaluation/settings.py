"""The sections `evaluation` and `gate`: how held-out problems are answered, and by what of it a policy is judged."""

from typing import Annotated, Literal

from pydantic import Field

from perseid.search.settings import Temperature, Tokens
from perseid.section import Section

Confidence = Annotated[float, Field(gt=0.0, lt=1.0)]
Facet = Annotated[str, Field(max_length=100)]  # a name that the held-out set's source knows; "": none


class Evaluation(Section):
    samples: int = Field(8, ge=1, le=1024)  # k of pass@k, maj@k and PPM best-of-k
    temperature: Temperature = 1.0
    max_tokens: Tokens = 96
    mcts_problems: int = Field(60, ge=0, le=100_000)  # held-out problems that the small MCTS is run on (0: none)
    mcts_rollouts: int = Field(4, ge=1, le=100_000)
    mcts_candidates: int = Field(4, ge=1, le=1024)
    mcts_step_tokens: Tokens = 16
    fresh_instances: int = Field(5, ge=1, le=1000)  # new questions that each verified program is re-run on
    bootstrap_samples: int = Field(2000, ge=1, le=100_000)  # each as large as the held-out set
    confidence: Confidence = 0.95
    by_group: Facet = ""  # a facet whose values are groups of problems that are alike: an interval over groups as well
    macro: Facet = ""  # a facet whose values count alike, however many problems each has


class Gate(Section):
    confidence: Confidence = 0.95
    metric: Literal["greedy_pass@1"] = "greedy_pass@1"
