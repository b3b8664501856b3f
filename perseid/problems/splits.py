"""What of the training sources is held out: a share, so many problems, or what a column says.

A problem's side is told by the hash of its question (or, `by` a facet, of the facet's value, so that no group is on
both sides) and of the split's own seed: another seed of the experiment, another order of the rows or, for a share, more
of them leave it where it is. A `share` is met on average; `problems` is met exactly, or passed by the rest of a group.
"""

import hashlib
from collections.abc import Callable
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from pydantic import Field, Strict, model_validator

from perseid.mistakes import mistake
from perseid.problems.problem import Item
from perseid.problems.source import Read
from perseid.section import Section

WAYS: Final = ("share", "problems", "column")
Hashes = npt.NDArray[np.uint64]


class Split(Section):
    """One of `share`, `problems` and `column`."""

    share: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    problems: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    column: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    values: Annotated[tuple[str, ...], Strict(False), Field(max_length=1000)] = ()  # of the column: those held out
    by: Annotated[str, Field(max_length=1000)] = ""  # a facet whose values are on one side each
    seed: int = Field(0, ge=0, le=2**63 - 1)  # of the split alone: it stays when the experiment's changes

    @model_validator(mode="after")
    def _one_way(self) -> "Split":
        ways = [way for way in WAYS if getattr(self, way) is not None]
        if len(ways) != 1:
            found = " and ".join(ways) or "none"
            raise mistake("", f"expected one of {', '.join(WAYS)} (or a list of sources), found {found}")
        if (ways == ["column"]) != bool(self.values):
            raise mistake("values", "expected the values of the column that are held out, beside column alone")
        if ways == ["column"]:
            for key in ("by", "seed"):
                if getattr(self, key):
                    raise mistake(key, "has no effect beside column")
        return self

    def side_of(self, hashes: Hashes | None = None) -> Callable[[Read], bool]:
        """Whether a row is held out. hashes: `hash_of` every row that counts, where so many problems are asked for."""
        if self.column is not None:
            values = frozenset(" ".join(value.split()) for value in self.values)
            return lambda read: read.told in values
        if self.share is not None:
            below = int(self.share * 2**64)
        else:
            assert hashes is not None, "of so many problems the last one is known by all"
            below = 0 if not hashes.size else int(np.sort(hashes)[min(self.problems or 0, hashes.size) - 1]) + 1
        return lambda read: read.item is not None and self.hash_of(read.item) < below

    def hash_of(self, item: Item) -> int:
        """64 bits that tell the side of a problem."""
        group = item.facets.get(self.by) if self.by else None
        told = f"{self.seed}\0{'' if group is None else group}\0{'' if group is not None else normal(item)}"
        return hash64(told)


def as_compared(question: str) -> str:
    """A question as it is compared with others: white space does not part two of them."""
    return " ".join(question.split())


def normal(item: Item) -> str:
    """The question of an item, as it is compared."""
    return as_compared(item.problem.question)


def hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
