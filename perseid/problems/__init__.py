"""Seed problems: what is asked, what demonstrates it, and the library of functions that answers it."""

import hashlib
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
    "toolbox_version",
]


def toolbox_source() -> str:
    """The library's source text, for the sandbox's prelude."""
    return Path(__file__).with_name("toolbox.py").read_text(encoding="utf-8")


def toolbox_version() -> str:
    """16 hex digits of the library's text: what programs do depends on it."""
    return hashlib.sha256(toolbox_source().encode()).hexdigest()[:16]
