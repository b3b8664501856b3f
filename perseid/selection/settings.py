"""The section `selection`: which of a round's trees train whom."""

from typing import Annotated

from pydantic import Field

from perseid.section import Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Pairs(Section):
    """Step preference pairs (rStar-Math; arXiv 2501.04519, section 3.3)."""

    positives: int = Field(2, ge=1, le=1024)
    negatives: int = Field(2, ge=1, le=1024)
    margin: float = Field(0.5, ge=0.0, le=2.0)  # least Q(chosen) - Q(rejected)
    min_edit: int = Field(20, ge=0, le=100_000)  # least Levenshtein distance of the two steps, characters
    final: bool = True  # the final-answer rule: whole trajectories compared
    held_out: Share = 0.25  # share of problems whose pairs only measure the PPM


class Selection(Section):
    top: int = Field(2, ge=1, le=1024)  # trajectories a problem, by mean Q then min Q
    grounded: bool = False  # only programs whose numbers stand in their question, and that compute what they print
    # Of programs that end in one operation, at most so many times the mean of the operations that were found; 0: all
    balance: float = Field(0.0, ge=0.0, le=1000.0)
    pairs: Pairs = Pairs()
