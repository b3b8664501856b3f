"""Seed problems: what is asked, what demonstrates it, and the library of functions that answers it."""

from pathlib import Path

from perseid.problems.problem import Gold, Problem
from perseid.problems.source import ProblemSet, build, composed_pairs, fresh_instances
from perseid.problems.teacher import Demonstration

__all__ = [
    "Demonstration",
    "Gold",
    "Problem",
    "ProblemSet",
    "build",
    "composed_pairs",
    "fresh_instances",
    "toolbox_source",
]


def toolbox_source() -> str:
    """The library's source text, for the sandbox's prelude."""
    return Path(__file__).with_name("toolbox.py").read_text(encoding="utf-8")
