"""Tree search: a pure generator asks (`kernel`), a driver answers (`driver`), a journal resumes (`journal`)."""

from perseid.sandbox import SandboxFailure
from perseid.search.driver import drive, run_searches
from perseid.search.kernel import picked, search
from perseid.search.method import Method
from perseid.search.services import Services, Update
from perseid.search.tree import Node, Stats, Tree

__all__ = [
    "Method",
    "Node",
    "SandboxFailure",
    "Services",
    "Stats",
    "Tree",
    "Update",
    "drive",
    "picked",
    "run_searches",
    "search",
]
