"""What search may see of a problem, and, apart from it, what only graders may see."""

from dataclasses import dataclass
from typing import Literal

Split = Literal["demonstration", "pool", "held_out"]
Part = Literal["seen", "new_wording", "new_composition"]
AnswerKind = Literal["number", "decimal", "fraction", "text", "math"]  # how an answer is compared: `perseid.graders`


@dataclass(frozen=True)
class Problem:
    """A question without its answer. `part` says what a held-out question shares with training ("seen" elsewhere)."""

    problem_id: str
    split: Split
    round: int  # the round whose pool it belongs to; 0 outside pools
    family: str
    composition: str  # what is asked of the family's answer, "" for nothing more
    wording: str
    part: Part
    question: str


@dataclass(frozen=True)
class Gold:
    """The answer to one problem, and how others are compared with it: reachable from `perseid.graders` alone."""

    problem_id: str
    answer: str
    kind: AnswerKind
