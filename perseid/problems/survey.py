"""Sources of rows gone through once, before anything is made of them: what is bad, what is asked twice.

| what stands in the rows | what comes of it |
|---|---|
| a question again, with the same gold | the first row counts, the others are left out, and counted |
| a question again, with another gold | bad rows, all of them: nobody can tell which gold is right |
| an id again, with another question | bad rows but for the first |

Keeps 32 bytes a row (40 where so many problems are to be held out), and for a moment as many again to sort them, so
that ten million are no matter; texts only of rows that are left out.
"""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from perseid.errors import UserError
from perseid.problems.source import Read, Reads
from perseid.problems.splits import hash64, normal

AGAIN: Final = "the same question with the same gold stands in an earlier row"
CONTRADICTS: Final = "the same question has another gold in another row"
TAKEN: Final = "another question has this id already"
HELD_OUT: Final = "its question is held out"
SHOWN: Final = 3  # bad rows that a message names
Hashes = npt.NDArray[np.uint64]


class Stream(NamedTuple):
    """A source of rows, and whether a bad one stops what is made of it."""

    stops: bool
    source: Reads


class Skipped(NamedTuple):
    """A row that is left out: its number in all of the stream's sources, from 0, where it stands, and why."""

    row: int
    source: str
    file: str
    line: int
    reason: str


@dataclass
class Survey:
    """rows: all there are. skipped: those that are left out. hashes: of those that count, as they were asked for."""

    rows: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    hashes: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))

    @property
    def numbers(self) -> Set[int]:
        return {one.row for one in self.skipped}


def survey(
    streams: Sequence[Stream],
    told: str = "",
    hash_of: Callable[[Read], int] | None = None,
    held_out: Callable[[Read], bool] | None = None,
) -> Survey:
    """What stands in `streams`, one after another.

    Args:
        told: a column whose text `hash_of` and `held_out` are to see.
        hash_of: what is wanted of each row that counts.
        held_out: rows that are bad because their question is asked elsewhere.

    Raises `UserError` that names the first bad rows and counts all, where one is of a source that stops at them.
    """
    found, known = Survey(), _Known(hash_of)
    for number, stream, read in rows_of(streams, told):
        found.rows = number + 1
        if read.item is None or (held_out is not None and held_out(read)):
            fault = read.fault or HELD_OUT
            found.skipped.append(Skipped(number, stream.source.name, read.file, read.line, fault))
        else:
            known.add(number, read)
    reasons = known.reasons()
    if reasons:
        for number, stream, read in rows_of(streams, told):
            if number in reasons:
                found.skipped.append(Skipped(number, stream.source.name, read.file, read.line, reasons[number]))
    found.skipped.sort()
    found.hashes = known.hashes(reasons.keys())
    _stop(streams, found.skipped)
    return found


def rows_of(streams: Sequence[Stream], told: str = "") -> Iterator[tuple[int, Stream, Read]]:
    """Every row with its number in all of them."""
    number = 0
    for stream in streams:
        for read in stream.source.read(told):
            yield number, stream, read
            number += 1


def _stop(streams: Sequence[Stream], skipped: Sequence[Skipped]) -> None:
    strict = {stream.source.name for stream in streams if stream.stops}
    bad = [one for one in skipped if one.source in strict and one.reason != AGAIN]
    if not bad:
        return
    counts = Counter(one.reason for one in bad)
    first, *others = bad[:SHOWN]
    also = "".join(f"; {one.file}: line {one.line}: {one.reason}" for one in others)
    most = ", ".join(f"{count:,} times: {reason}" for reason, count in counts.most_common(SHOWN))
    every = f" ({most}{', …' if len(counts) > SHOWN else ''})" if len(bad) > 1 else ""
    told = f"{len(bad):,} bad row{'s' * (len(bad) > 1)} in all{every}; mend them, or leave them out by on_bad_row: drop"
    raise UserError(first.file, f"line {first.line}", f"{first.reason}{also}; {told}")


class _Known:
    """Of every good row: its number, hashes of its question, of question and gold, of its id; what else is wanted."""

    def __init__(self, wanted: Callable[[Read], int] | None) -> None:
        self.columns, self.wanted = [array("Q") for _ in range(4)], array("Q")
        self.hash_of = wanted

    def add(self, number: int, read: Read) -> None:
        assert read.item is not None
        question, problem = normal(read.item), read.item.problem
        gold = read.answer or json.dumps(read.item.gold.answer, sort_keys=True)
        values = (number, hash64(question), hash64(f"{gold}\0{question}"), hash64(problem.problem_id))
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        if self.hash_of is not None:
            self.wanted.append(self.hash_of(read))

    def reasons(self) -> dict[int, str]:
        """By row, why it is left out."""
        rows, questions, golds, ids = map(_view, self.columns)
        found: dict[int, str] = {}
        for place in _runs(questions):
            if (golds[place] == golds[place[0]]).all():
                found |= dict.fromkeys(rows[place[1:]].tolist(), AGAIN)
            else:
                found |= dict.fromkeys(rows[place].tolist(), CONTRADICTS)
        for place in _runs(ids):
            left = [index for index in place if int(rows[index]) not in found]
            found |= {int(rows[index]): TAKEN for index in left[1:]}
        return found

    def hashes(self, without: Set[int]) -> Hashes:
        rows, wanted = _view(self.columns[0]), _view(self.wanted)
        if not without or not wanted.size:
            return wanted
        return wanted[~np.isin(rows, np.fromiter(without, np.uint64, len(without)))]


def _view(column: "array[int]") -> Hashes:
    return np.frombuffer(column, np.uint64) if column else np.empty(0, np.uint64)


def _runs(values: Hashes) -> Iterator[npt.NDArray[np.intp]]:
    """Places of values that stand there more than once, in order, a value at a time."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if not same.size:
        return
    for run in np.split(same, np.flatnonzero(np.diff(same) > 1) + 1):
        yield order[run[0] : run[-1] + 2]
