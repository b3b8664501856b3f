"""Problems: what is asked and, apart from it, what only graders see; the sources that they come from."""

from perseid.problems.problem import Demonstration, Gold, Item, Problem

__all__ = ["Demonstration", "Gold", "Item", "Problem"]
