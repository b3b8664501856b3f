"""Tree search: a pure generator asks (`kernel`), a driver answers (`waves`), a journal resumes (`journal`)."""

from perseid.search.kernel import picked, search
from perseid.search.method import Method, method_named
from perseid.search.rows import tables
from perseid.search.services import SandboxFailure, Services, Update
from perseid.search.tree import Node, Stats, Tree
from perseid.search.waves import run_searches

__all__ = [
    "Method",
    "Node",
    "SandboxFailure",
    "Services",
    "Stats",
    "Tree",
    "Update",
    "method_named",
    "picked",
    "run_searches",
    "search",
    "tables",
]
