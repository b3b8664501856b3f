"""What is asked twice: found by hashes, told by row, whatever else stands between."""

import random
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

from perseid.problems import Gold, Item, Problem
from perseid.problems.source import Read
from perseid.problems.survey import AGAIN, CONTRADICTS, TAKEN, Stream, survey


@dataclass(frozen=True)
class Rows:
    """(id, question, gold) each; `times` over, with other names."""

    rows: tuple[tuple[str, str, str], ...]
    times: int = 1
    name: str = "made"

    def read(self, told: str = "") -> Iterator[Read]:
        for time in range(self.times):
            for line, (name, question, gold) in enumerate(self.rows, 1):
                own = f"{name}-{time}" if self.times > 1 else name
                asked = f"{question} {time}" if self.times > 1 else question
                yield Read("file", line, Item(Problem(own, "made", "text", asked), Gold(own, gold)))


def left_out(*sources: Rows) -> list[tuple[int, str]]:
    return [(one.row, one.reason) for one in survey([Stream(False, source) for source in sources]).skipped]


def test_rows_that_differ_are_all_kept() -> None:
    assert left_out(Rows((("a", "1?", "1"), ("b", "2?", "1"), ("c", "3?", "3")))) == []


def test_of_questions_with_one_gold_the_first_counts_in_whichever_source_it_stands() -> None:
    first, second = Rows((("a", "1?", "1"), ("b", "2?", "2"))), Rows((("c", " 2? ", "2"), ("d", "1?", "1")))
    assert left_out(first, second) == [(2, AGAIN), (3, AGAIN)]


def test_of_questions_with_two_golds_none_counts() -> None:
    rows = (("a", "1?", "1"), ("b", "2?", "2"), ("c", "1?", "3"), ("d", "1?", "1"))
    assert left_out(Rows(rows)) == [(0, CONTRADICTS), (2, CONTRADICTS), (3, CONTRADICTS)]


def test_an_id_belongs_to_the_first_row_that_counts() -> None:
    rows = (("a", "1?", "1"), ("a", "1?", "2"), ("a", "2?", "2"), ("a", "3?", "3"), ("b", "3?", "3"))
    assert left_out(Rows(rows)) == [(0, CONTRADICTS), (1, CONTRADICTS), (3, TAKEN), (4, AGAIN)]


def test_it_finds_what_a_count_by_hand_finds() -> None:
    rng = random.Random(0)
    rows = tuple((f"n{n}", f"{rng.randrange(300)}?", str(rng.randrange(2))) for n in range(1000))
    golds: dict[str, list[str]] = {}
    for _, question, gold in rows:
        golds.setdefault(question, []).append(gold)
    seen, expected = set[str](), []
    for row, (_, question, _) in enumerate(rows):
        if len(set(golds[question])) > 1:
            expected.append((row, CONTRADICTS))
        elif question in seen:
            expected.append((row, AGAIN))
        seen.add(question)
    assert left_out(Rows(rows)) == expected


def test_memory_grows_by_some_bytes_a_row_and_not_by_its_text() -> None:
    """A row of 100 characters; 40,000 rows more."""
    rows = tuple((f"n{n}", f"{'x' * 100}{n}?", "1") for n in range(100))
    peaks = []
    for times in (100, 500):
        tracemalloc.start()
        survey([Stream(False, Rows(rows, times))])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 40_000 < 100
