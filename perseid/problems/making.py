"""What an experiment asks, made of its sources: the held-out set and what demonstrates; a round's pool.

The same section, seed and content of files give the same problems, whoever asks and whatever was made before. A
question is held out or searched, never both: of a row of `train` whose question is held out by another source, that is
what is wrong with it.
"""

import hashlib
import heapq
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from perseid.errors import UserError
from perseid.problems.problem import Demonstration, Item
from perseid.problems.settings import Problems
from perseid.problems.source import Asked, Brings, Draws, Pool, Promises, Reads, Redraws, Settings, Source
from perseid.problems.splits import Split, hash64, normal
from perseid.problems.survey import Skipped, Stream, rows_of, survey


@dataclass(frozen=True)
class First:
    """What is made once: the held-out set; problems that demonstrations solve; the demonstrations.

    skipped: rows that were left out, by "train" and "held_out". rows: how many there are, by the same.
    """

    held_out: Sequence[Item] = ()
    shown: Sequence[Item] = ()
    demonstrations: Sequence[Demonstration] = ()
    skipped: Mapping[str, Sequence[Skipped]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many problems of sources of rows there are to search."""
        split = len(self.held_out) if self.rows and "held_out" not in self.rows else 0
        return self.rows.get("train", 0) - len(self.skipped.get("train", ())) - split


@dataclass(frozen=True)
class Before:
    """What a pool is drawn after.

    asked: the problems of sources that draw it themselves. times: by problem, how often it was searched. held_out: the
    questions of the held-out set, as `normal` writes them. skipped: numbers of rows of `train` that are left out.
    """

    asked: Sequence[Asked] = ()
    times: Mapping[str, int] = field(default_factory=dict)
    held_out: Set[str] = frozenset()
    skipped: Set[int] = frozenset()


def opened(problems: Problems, seed: int, root: Path) -> list[Source]:
    """The training sources. `root`: what relative paths start from."""
    return [settings.opened(seed, root) for settings in problems.train]


def first(problems: Problems, seed: int, root: Path) -> First:
    """The held-out set, and what demonstrates.

    Every row of every source is gone through. Raises `UserError` for what a source cannot give, for bad rows of one
    that stops at them, and where nothing would be held out, or nothing left.
    """
    brought = [source.brought() for source in opened(problems, seed, root) if isinstance(source, Brings)]
    train = streams(problems.train, seed, root)
    if isinstance(problems.held_out, Split):
        found = _split(problems.held_out, train)
    else:
        found = _apart(streams(problems.held_out or (), seed, root), train)
    return First(
        [*(item for one in brought for item in one.held_out), *found.held_out],
        [item for one in brought for item in one.shown],
        [shown for one in brought for shown in one.demonstrations],
        found.skipped,
        found.rows,
    )


def drawn(problems: Problems, seed: int, root: Path, round: int, before: Before) -> list[Item]:
    """What `round` searches, of the size in `problems.pool`.

    Of sources of rows: the problems that were searched least, in an order that is the seed's own. Raises `UserError`
    where there are not enough.
    """
    sources = opened(problems, seed, root)
    if isinstance(sources[0], Draws):
        return sources[0].draw(round, problems.pool, before.asked)
    assert isinstance(problems.pool, Pool)
    return _least_searched(problems.pool, streams(problems.train, seed, root), seed, round, before)


def streams(sources: Sequence[Settings], seed: int, root: Path) -> list[Stream]:
    """Those of `sources` that are read row by row."""
    found = []
    for settings in sources:
        source = settings.opened(seed, root)
        if isinstance(source, Reads):
            found.append(Stream(settings.stops_at_bad_rows, source))
    return found


def _split(split: Split, train: Sequence[Stream]) -> First:
    """The held-out set as a part of the training sources."""
    column, wanted = split.column or "", split.problems is not None
    found = survey(train, column, (lambda read: split.hash_of(read.item) if read.item else 0) if wanted else None)
    side, skip = split.side_of(found.hashes), found.numbers
    good = (read for number, _, read in rows_of(train, column) if number not in skip)
    held_out = [read.item for read in good if read.item is not None and side(read)]
    left = found.rows - len(skip) - len(held_out)
    if not held_out or not left:
        expected = f"expected problems on both sides, found {len(held_out):,} held out and {left:,} left"
        raise UserError("experiment", "problems.held_out", expected)
    return First(held_out, skipped={"train": found.skipped}, rows={"train": found.rows})


def _apart(held_out: Sequence[Stream], train: Sequence[Stream]) -> First:
    """The held-out set of sources of its own; none of its questions may be searched."""
    apart = survey(held_out)
    skip = apart.numbers
    items = [read.item for number, _, read in rows_of(held_out) if number not in skip and read.item]
    questions, ids = frozenset(map(normal, items)), frozenset(item.problem.problem_id for item in items)
    if held_out and not items:
        raise UserError("experiment", "problems.held_out", f"expected problems, found none in {apart.rows:,} rows")
    if not train:  # what is searched is drawn
        return First(items, skipped={"held_out": apart.skipped}, rows={"held_out": apart.rows} if held_out else {})
    searched = survey(train, held_out=lambda read: _is_in(read.item, questions, ids))
    if searched.rows == len(searched.skipped):
        expected = f"expected problems to search, found none in {searched.rows:,} rows"
        raise UserError("experiment", "problems.train", expected)
    skipped = {"held_out": apart.skipped, "train": searched.skipped}
    return First(items, skipped=skipped, rows={"held_out": apart.rows, "train": searched.rows})


def _is_in(item: Item | None, questions: Set[str], ids: Set[str]) -> bool:
    return item is not None and (normal(item) in questions or item.problem.problem_id in ids)


def _least_searched(pool: Pool, train: Sequence[Stream], seed: int, round: int, before: Before) -> list[Item]:
    """Keeps no more of the rows than it takes."""
    taken: list[tuple[int, int, int, Item]] = []  # a heap, the last to be taken at its top
    new = 0
    for number, _, read in rows_of(train):
        item = read.item
        if item is None or number in before.skipped or (question := normal(item)) in before.held_out:
            continue
        times = before.times.get(item.problem.problem_id, 0)
        if times and not pool.again:
            continue
        new += 1
        place = (-times, -hash64(f"{seed}\0pool\0{question}"), -number, item)
        if pool.problems is None or len(taken) < pool.problems:
            heapq.heappush(taken, place)
        elif place[:3] > taken[0][:3]:
            heapq.heapreplace(taken, place)
    if not taken or (not pool.again and new < (pool.problems or 1)):
        wanted = f"{pool.problems or 1:,} problem{'s' if pool.problems != 1 else ''}"
        kind = "" if pool.again else " that no round searched before"
        expected = f"expected at least {wanted}{kind} for round {round}, found {new:,}"
        raise UserError("experiment", "problems.pool.problems", expected)
    return [place[3] for place in sorted(taken, reverse=True)]


def redraws(problems: Problems, seed: int, root: Path) -> dict[str, Redraws]:
    """By name, the sources that can ask the same anew."""
    return {source.name: source for source in opened(problems, seed, root) if isinstance(source, Redraws)}


def promises(problems: Problems, seed: int, root: Path) -> dict[str, Promises]:
    """By name, the sources that promise something of their splits."""
    return {source.name: source for source in opened(problems, seed, root) if isinstance(source, Promises)}


def key(problems: Problems, root: Path) -> str:
    """16 hex digits of what the sources hold, settings apart. Raises `UserError` for a file that cannot be read."""
    return _digest({where: source.key(root) for where, source in problems.keyed()})


def redraws_key(problems: Problems, root: Path) -> str:
    """The same, of what can ask anew."""
    keys = {where: source.redraws_key(root) for where, source in problems.keyed()}
    return _digest({where: found for where, found in keys.items() if found is not None})


def prelude_key(problems: Problems) -> str:
    """16 hex digits of the prelude's text: what programs do depends on it."""
    return hashlib.sha256(problems.prelude().encode()).hexdigest()[:16]


def _digest(keys: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]
