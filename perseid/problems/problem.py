"""What search may see of a problem; apart from it, what only graders may see; and whatever else is known of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

Split = Literal["demonstration", "pool", "held_out"]


@dataclass(frozen=True)
class Problem:
    """A question without its answer. `kind`: the grader that compares answers with its gold."""

    problem_id: str
    source: str
    kind: str
    question: str


@dataclass(frozen=True)
class Gold:
    """The answer to one problem, as JSON: reachable from graders alone."""

    problem_id: str
    answer: JsonValue


@dataclass(frozen=True)
class Item:
    """A problem as a source gives it. facets: what else is known of it, by name: what results are grouped by."""

    problem: Problem
    gold: Gold
    facets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Demonstration:
    """A worked question: `steps` of the answer, the last of which answers. problem_id: "" where it has no problem."""

    example_id: str
    kind: str
    problem_id: str
    question: str
    steps: tuple[str, ...]
