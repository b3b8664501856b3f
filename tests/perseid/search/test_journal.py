import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perseid.errors import UserError
from perseid.experiment import Search
from perseid.methods.rstar_math import METHOD
from perseid.search import Services, run_searches, tables
from perseid.search.journal import FRAME, Journal

SETTINGS = Search(candidates=3, rollouts=4, max_depth=4, ppm=True)


def searched(toy: Any, journal: Path | None, seed: int = 0, **services: object) -> dict[str, list[Any]]:
    trees = run_searches(toy.problems(4), METHOD, SETTINGS, seed, toy.services(4, **services), journal)
    return {name: frame.rows() for name, frame in tables(trees).items()}


def record_ends(path: Path) -> list[int]:
    data, ends = path.read_bytes(), [0]
    while ends[-1] < len(data):
        ends.append(ends[-1] + FRAME.size + FRAME.unpack_from(data, ends[-1])[1])
    return ends


class Silent:
    """Services of a finished run: asking them anything is a failure of the replay."""

    weights = "scripted"
    concurrency = 0

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked of a service")


def replayed(toy: Any, journal: Path) -> dict[str, list[Any]]:
    """The trees of a journal alone."""
    scorer = Silent()
    scorer.weights = toy.scorer.weights
    trees = run_searches(toy.problems(4), METHOD, SETTINGS, 0, Services(Silent(), scorer, Silent(), Silent()), journal)
    return {name: frame.rows() for name, frame in tables(trees).items()}


def test_a_whole_journal_gives_the_trees_without_asking_anybody(toy: Any, tmp_path: Path) -> None:
    first = searched(toy, tmp_path / "j")
    assert replayed(toy, tmp_path / "j") == first == searched(toy, None)


def test_a_journal_cut_anywhere_resumes_to_the_same_trees_and_the_same_bytes(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    ends = record_ends(tmp_path / "whole")
    assert len(ends) > 10
    for cut in sorted({0, 1, FRAME.size, len(data) - 1, *ends[::4], *range(5, len(data), len(data) // 20)}):
        path = tmp_path / "cut"
        path.write_bytes(data[:cut])
        kept = max(end for end in ends if end <= cut)
        assert searched(toy, path) == whole
        assert path.read_bytes()[:kept] == data[:kept]
        assert replayed(toy, path) == whole


def test_a_torn_end_of_noise_or_zeros_is_dropped(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    end = record_ends(tmp_path / "whole")[5]
    for tail in (bytes(4096), os.urandom(64), data[end : end + FRAME.size] + bytes(200)):
        (tmp_path / "torn").write_bytes(data[:end] + tail)
        assert searched(toy, tmp_path / "torn") == whole


def test_a_corrupted_record_in_the_middle_names_file_and_offset(toy: Any, tmp_path: Path) -> None:
    searched(toy, tmp_path / "j")
    data = (tmp_path / "j").read_bytes()
    start, end = record_ends(tmp_path / "j")[3:5]
    for at in (start, start + 5, start + 9, start + FRAME.size, end - 1):
        (tmp_path / "j").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UserError, match=rf"{tmp_path / 'j'}: offset {start}: "):
            searched(toy, tmp_path / "j")


def test_the_journal_of_another_run_is_discarded(toy: Any, tmp_path: Path) -> None:
    searched(toy, tmp_path / "j", seed=1)
    assert searched(toy, tmp_path / "j", seed=0) == searched(toy, None, seed=0)


def test_an_answer_to_another_request_is_an_error_and_not_used(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", "run") as journal:
        journal.append([(3, "S", 77, [0.5])])
    for kind, digest in (("S", 78), ("G", 77)):
        with Journal(tmp_path / "j", "run") as journal, pytest.raises(UserError, match=f"answers to another {kind}"):
            journal.replay(3).next(kind, digest)


def test_answers_come_back_as_they_were_and_by_tree(tmp_path: Path) -> None:
    answers = [0.1, -0.30000000000000004, "é\ud800\x00\n\r\u2028", None, ["ok", ""]]
    with Journal(tmp_path / "j", "run") as journal:
        journal.append([(1, "P", 5, answers), (0, "S", 6, [1.0])])
        journal.append([(1, "S", 7, [])])
    for _ in range(2):
        with Journal(tmp_path / "j", "run") as journal:
            replay = journal.replay(1)
            assert [replay.next("P", 5), replay.next("S", 7), replay.next("S", 7)] == [answers, [], None]
            assert journal.replay(0).next("S", 6) == [1.0]
            assert journal.replay(2).next("S", 6) is None


def test_a_journal_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "file" / "j")):
        Journal(tmp_path / "file" / "j", "run")


def test_a_full_disk_is_one_clear_error_and_the_journal_goes_on_when_there_is_room(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    size = (tmp_path / "whole").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"{tmp_path / 'full'}: .*File too large"):
            searched(toy, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 0 < (tmp_path / "full").stat().st_size <= size // 2
    assert searched(toy, tmp_path / "full") == whole


CHILD = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
sys.path.insert(0, {root!r})
from dataclasses import dataclass, replace
from tests.perseid.search.conftest import Late, Toy
from perseid.experiment import Search
from perseid.methods.rstar_math import METHOD
from perseid.search import run_searches, tables

class Slow:
    weights = "scripted"
    concurrency = {concurrency}
    async def generate(self, requests):
        await asyncio.sleep(0.01 if self.concurrency == 0 else 0.002)
        return await Toy().engine.generate(requests)

settings = Search(candidates=3, rollouts=4, max_depth=4, ppm=True)
services = replace(Toy().late(4), engine=Slow())
try:
    trees = run_searches(Toy().problems(4), METHOD, settings, 0, services, {journal!r})
except KeyboardInterrupt:
    print("interrupted")
else:
    print(sum(len(tree.nodes) for tree in trees))
"""


def stopped(journal: Path, concurrency: int, after_bytes: int, how: signal.Signals) -> tuple[bool, str]:
    """The signal once the child's journal holds so many bytes: whether it still ran, and its last word."""
    code = CHILD.format(root=str(Path(__file__).parents[3]), journal=str(journal), concurrency=concurrency)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None and (not journal.exists() or journal.stat().st_size < after_bytes):
            time.sleep(0.001)
        ran = child.poll() is None
        child.send_signal(how)
        return ran, child.communicate()[0].strip()


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [0, 4])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_trees(toy: Any, tmp_path: Path, concurrency: int) -> None:
    whole, kills = searched(toy, tmp_path / "whole"), 0
    size = (tmp_path / "whole").stat().st_size
    draw = random.Random(concurrency)
    for number in range(6):
        path = tmp_path / f"killed {number}"
        ran, _ = stopped(path, concurrency, draw.randrange(1, size), signal.SIGKILL)
        kills += ran
        assert searched(toy, path) == whole
    assert kills > 0


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [0, 4])
def test_an_interrupted_run_ends_at_once_and_keeps_what_was_answered(
    toy: Any, tmp_path: Path, concurrency: int
) -> None:
    whole = searched(toy, tmp_path / "whole")
    ran, word = stopped(tmp_path / "j", concurrency, 400, signal.SIGINT)
    assert (ran, word) == (True, "interrupted")
    kept = (tmp_path / "j").read_bytes()
    assert searched(toy, tmp_path / "j") == whole
    assert (tmp_path / "j").read_bytes()[: len(kept)] == kept
