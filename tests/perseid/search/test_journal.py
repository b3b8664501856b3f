import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perseid.errors import UserError
from perseid.formats import TOOLS
from perseid.graders import Judge
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.search import Services, run_searches, search
from perseid.search.driver import run_key
from perseid.search.journal import FIRST, FRAME, NEXT, START, Journal
from perseid.search.live import Live
from perseid.search.rows import tables

SETTINGS = Settings(candidates=3, rollouts=4, max_depth=4, ppm=True)
METHOD = RStarMath(SETTINGS, TOOLS)


def searched(toy: Any, journals: Path | None, seed: int = 0, **services: object) -> dict[str, list[Any]]:
    trees = run_searches(toy.problems(4), METHOD, seed, toy.services(4, **services), journals)
    return {name: frame.rows() for name, frame in tables(trees).items()}


def path_in(toy: Any, journals: Path, data: bytes | None = None) -> Path:
    """The journal of `searched`; holding `data`, if that is given."""
    path = journals / run_key(toy.problems(4), METHOD, 0, toy.services(4))
    if data is not None:
        journals.mkdir(exist_ok=True)
        path.write_bytes(data)
    return path


def records_of(data: bytes) -> list[bytes]:
    records, offset = [], 0
    while offset < len(data):
        end = offset + FRAME.size + FRAME.unpack_from(data, offset)[1]
        records.append(data[offset:end])
        offset = end
    return records


def ends_of(data: bytes) -> list[int]:
    ends = [0]
    for record in records_of(data):
        ends.append(ends[-1] + len(record))
    return ends


class Silent:
    """Services of a finished run: asking them anything is a failure of the replay."""

    concurrency = 0

    def __init__(self, service: Any) -> None:
        self.weights, self.version = getattr(service, "weights", ""), getattr(service, "version", "")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked of a service")


def replayed(toy: Any, journals: Path) -> dict[str, list[Any]]:
    """The trees of a journal alone."""
    real = toy.services(4)
    silent = Services(*map(Silent, (real.engine, real.scorer, real.sandbox, real.grader)))
    trees = run_searches(toy.problems(4), METHOD, 0, silent, journals)
    return {name: frame.rows() for name, frame in tables(trees).items()}


def test_a_whole_journal_gives_the_trees_without_asking_anybody(toy: Any, tmp_path: Path) -> None:
    first = searched(toy, tmp_path)
    assert replayed(toy, tmp_path) == first == searched(toy, None)


def test_a_journal_cut_anywhere_resumes_to_the_same_trees_and_the_same_bytes(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    data = path_in(toy, tmp_path / "whole").read_bytes()
    ends = ends_of(data)
    assert len(ends) > 10
    for cut in sorted({0, 1, FRAME.size, len(data) - 1, *ends[::4], *range(5, len(data), len(data) // 20)}):
        path = path_in(toy, tmp_path / "cut", data[:cut])
        kept = max(end for end in ends if end <= cut)
        assert searched(toy, tmp_path / "cut") == whole
        assert path.read_bytes()[:kept] == data[:kept]
        assert replayed(toy, tmp_path / "cut") == whole


def test_a_torn_end_of_noise_or_zeros_is_dropped(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    data = path_in(toy, tmp_path / "whole").read_bytes()
    end = ends_of(data)[5]
    frame = data[end : end + FRAME.size]
    for tail in (bytes(4096), os.urandom(64), frame + bytes(200), frame[:4] + bytes(60), frame[:9]):
        path_in(toy, tmp_path / "torn", data[:end] + tail)
        assert searched(toy, tmp_path / "torn") == whole


def test_a_corrupted_record_in_the_middle_names_file_and_offset(toy: Any, tmp_path: Path) -> None:
    searched(toy, tmp_path)
    path = path_in(toy, tmp_path)
    data = path.read_bytes()
    start, end = ends_of(data)[3:5]
    for at in (start, start + 5, start + 9, start + 13, start + FRAME.size, end - 1):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UserError, match=rf"{path}: offset {start}: "):
            searched(toy, tmp_path)


def test_records_removed_doubled_moved_or_from_elsewhere_name_file_and_offset(toy: Any, tmp_path: Path) -> None:
    searched(toy, tmp_path)
    path = path_in(toy, tmp_path)
    data = path.read_bytes()
    records, ends = records_of(data), ends_of(data)
    another = records_of(path_in_another(toy, tmp_path / "another").read_bytes())
    for damaged, offset in (
        (data + data, len(data)),
        (data[ends[1] :], 0),
        *((b"".join(records[:n] + records[n + 1 :]), ends[n]) for n in range(1, len(records) - 1)),
        *((b"".join(records[:n] + records[n - 1 :]), ends[n]) for n in range(1, len(records))),
        *((b"".join([*records[:n], records[n + 1], records[n], *records[n + 2 :]]), ends[n]) for n in range(1, 9)),
        (b"".join([*records[:3], another[3], *records[3:]]), ends[3]),
    ):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=rf"{path}: offset {offset}: "):
            searched(toy, tmp_path)
        assert path.read_bytes() == damaged


def path_in_another(toy: Any, journals: Path) -> Path:
    searched(toy, journals, seed=1)
    [path] = journals.iterdir()
    return path


def chained(payloads: list[bytes]) -> bytes:
    """A journal of one session with these payloads, every checksum right."""
    data, own, deflate = b"", 0, zlib.compressobj(6, zlib.DEFLATED, -13)
    for number, payload in enumerate(payloads):
        packed = deflate.compress(payload + b"\n") + deflate.flush(zlib.Z_SYNC_FLUSH)
        start = START.pack(NEXT if number else FIRST, len(packed), zlib.crc32(packed))
        own = zlib.crc32(start, own)
        data += start + own.to_bytes(4, "little") + packed
    return data


def payloads_of(data: bytes) -> list[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    return [inflate.decompress(record[FRAME.size :]).removesuffix(b"\n") for record in records_of(data)]


FORGED: dict[str, Callable[[list[Any]], Any]] = {
    "no JSON": lambda entry: b"[0,",
    "nothing": lambda entry: b"",
    "brackets": lambda entry: b"[0," + b"[" * 100_000,
    "of no tree": lambda entry: ["x", *entry[1:]],
    "too short": lambda entry: entry[:3],
    "two": lambda entry: json.dumps(entry).encode() + b"," + json.dumps(entry).encode(),
    "to another request": lambda entry: [*entry[:2], entry[2] ^ 1, entry[3]],
    "of another kind": lambda entry: [entry[0], "S", *entry[2:]],
    "an end that is none": lambda entry: [entry[0], "X", 0, "done"],
    "no answers": lambda entry: [*entry[:3], None],
    "too few answers": lambda entry: [*entry[:3], [column[1:] for column in entry[3]]],
    "too many columns": lambda entry: [*entry[:3], [*entry[3], *entry[3]]],
    "answers of another type": lambda entry: [*entry[:3], [[{}] * len(column) for column in entry[3]]],
}


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_record_whose_checksums_hold_is_one_error(toy: Any, tmp_path: Path, forged: str) -> None:
    """The first answers of the first tree, replaced; in the file every record is its own and in its place."""
    searched(toy, tmp_path)
    path = path_in(toy, tmp_path)
    payloads = payloads_of(path.read_bytes())
    first, *others = payloads[1].splitlines()
    entry = FORGED[forged](json.loads(first))
    line = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
    path.write_bytes(chained([payloads[0], b"\n".join([line, *others]), *payloads[2:]]))
    offset = len(chained(payloads[:1]))
    with pytest.raises(UserError, match=rf"{path}: offset {offset}: "):
        searched(toy, tmp_path)


def test_answers_to_a_tree_that_has_ended_are_an_error(toy: Any, tmp_path: Path) -> None:
    searched(toy, tmp_path)
    path = path_in(toy, tmp_path)
    payloads = payloads_of(path.read_bytes())
    path.write_bytes(chained([*payloads, payloads[-1]]))
    with pytest.raises(UserError, match=r"offset \d+: .*a tree that has ended"):
        searched(toy, tmp_path)


def answered(path: Path, count: int) -> list[int]:
    """Which of `entries` a journal still holds, in order."""
    held = []
    with Journal(path, "run") as journal:
        replays = [journal.replay(tree) for tree in range(3)]
        for number in range(count):
            if (entry := replays[number % 3].next()) is not None:
                if entry[1] != number:  # one of those before it was lost: what comes after is none of its tree's next
                    raise replays[number % 3].damaged("expected another")
                assert entry == ("S", number, [number / 7], 0)
                held.append(number)
    return held


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of two sessions, an entry a record: entry n is of tree n modulo 3."""
    path = tmp_path_factory.mktemp("whole") / "j"
    for session in (range(7), range(7, 12)):
        with Journal(path, "run") as journal:
            for number in session:
                journal.append([(number % 3, "S", number, [number / 7])])
    return path.read_bytes()


def holds_a_beginning_or_is_one_error(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    told = ""
    try:
        held = answered(path, 12)
    except UserError as error:
        held, told = [], str(error)
    assert held == list(range(len(held)))
    assert not told or (told.startswith(f"{path}: offset ") and "\n" not in told and path.read_bytes() == data)


def test_any_byte_changed_leaves_a_beginning_or_is_one_error(whole: bytes, tmp_path: Path) -> None:
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]
        holds_a_beginning_or_is_one_error(tmp_path / "j", damaged)


@settings(deadline=None)
@given(order=st.lists(st.integers(0, 12), max_size=15), cut=st.integers(0, 60), noise=st.binary(max_size=40))
def test_records_in_any_order_cut_anywhere_leave_a_beginning_or_are_one_error(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, order: list[int], cut: int, noise: bytes
) -> None:
    records = records_of(whole)
    data = b"".join(records[number] for number in order)
    path = tmp_path_factory.mktemp("j") / "j"
    holds_a_beginning_or_is_one_error(path, data[: len(data) - cut] + noise)


def test_a_run_with_anything_else_neither_reads_nor_touches_a_journal(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path)
    path = path_in(toy, tmp_path)
    whole_data = path.read_bytes()
    data, kept = whole_data[:-40], ends_of(whole_data)[-4]
    path.write_bytes(data)
    assert searched(toy, tmp_path, seed=1) == searched(toy, None, seed=1)
    assert path.read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 2
    assert searched(toy, tmp_path) == whole
    assert path.read_bytes()[:kept] == data[:kept]


def test_all_that_decides_an_answer_is_in_the_key_of_a_run(toy: Any) -> None:
    problems, services, gold = toy.problems(4), toy.services(4), toy.gold(4)

    def key(**replaced: Any) -> str:
        changed = {"problems": problems, "method": METHOD, "seed": 0, "services": services}
        return run_key(**{**changed, **replaced})

    others = [
        key(problems=problems[:3]),
        key(problems=[replace(problems[0], question="1 2"), *problems[1:]]),
        key(method=replace(METHOD, shots=True)),
        key(method=replace(METHOD, settings=SETTINGS.model_copy(update={"rollouts": 5}))),
        key(seed=1),
        key(services=replace(services, engine=replace(services.engine, weights="other"))),
        key(services=replace(services, scorer=replace(services.scorer, weights="other"))),
        key(services=replace(services, sandbox=replace(services.sandbox, version="other"))),
        key(services=replace(services, grader=Judge(problems, [replace(gold[0], answer="11"), *gold[1:]]))),
        key(services=replace(services, grader=Judge([replace(p, kind="text") for p in problems], gold))),
        key(services=replace(services, grader=None)),
    ]
    assert key() == key(services=toy.services(4))
    assert len({key(), *others}) == 1 + len(others)


def test_gold_corrected_after_a_kill_grades_anew(toy: Any, tmp_path: Path) -> None:
    """The journal of before would say that nothing is solved."""
    wrong = Judge(toy.problems(4), (replace(gold, answer="0") for gold in toy.gold(4)))
    assert not any(row[1] for row in searched(toy, tmp_path, grader=wrong)["searches"])
    assert searched(toy, tmp_path) == searched(toy, None)


def test_a_journal_under_the_name_of_another_run_is_an_error_and_left_alone(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", "run"):
        pass
    data = (tmp_path / "j").read_bytes()
    with pytest.raises(UserError, match="expected the journal of the run other"):
        Journal(tmp_path / "j", "other")
    assert (tmp_path / "j").read_bytes() == data


def test_an_answer_to_another_request_is_an_error_and_not_used(toy: Any, tmp_path: Path) -> None:
    [problem] = toy.problems(1)
    for kind, asked, place in (("P", 77, 0), ("G", 77, 0), ("P", 77, 1)):
        live = Live(0, problem, search(problem, METHOD, 0))
        live.begin()
        request, key = live.request, f"{kind}{place}"
        with Journal(tmp_path / key, "run") as journal:
            journal.append([(0, kind, asked, [["text"], [0], [1]], place) if place else (0, kind, asked, [0.5])])
        with Journal(tmp_path / key, "run") as journal, pytest.raises(UserError, match=f"answers to another {kind}"):
            live.replay(journal.replay(0))
        assert live.request is request


def test_answers_come_back_as_they_were_and_by_tree(tmp_path: Path) -> None:
    answers = [0.1, -0.30000000000000004, "é\ud800\x00\n\r\u2028", None, ["ok", ""]]
    with Journal(tmp_path / "j", "run") as journal:
        journal.append([(1, "P", 5, answers), (0, "S", 6, [1.0])])
        journal.append([(1, "S", 7, [], 2)])
    for _ in range(2):
        with Journal(tmp_path / "j", "run") as journal:
            replay = journal.replay(1)
            assert [replay.next(), replay.next(), replay.next()] == [("P", 5, answers, 0), ("S", 7, [], 2), None]
            assert journal.replay(0).next() == ("S", 6, [1.0], 0)
            assert journal.replay(2).next() is None


def test_a_journal_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=str(tmp_path / "file" / "j")):
        Journal(tmp_path / "file" / "j", "run")


def test_what_is_no_regular_file_is_one_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "device"):
        with pytest.raises(UserError, match=f"{tmp_path / name}: expected a journal"):
            Journal(tmp_path / name, "run")
    with pytest.raises(UserError, match=f"{tmp_path / 'pipe' / 'j'}: expected a journal"):
        Journal(tmp_path / "pipe" / "j", "run")


def test_a_full_disk_is_one_clear_error_and_the_journal_goes_on_when_there_is_room(toy: Any, tmp_path: Path) -> None:
    whole = searched(toy, tmp_path / "whole")
    size = path_in(toy, tmp_path / "whole").stat().st_size
    path = path_in(toy, tmp_path / "full")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=rf"{path}: .*File too large"):
            searched(toy, tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 0 < path.stat().st_size <= size // 2
    assert searched(toy, tmp_path / "full") == whole


CHILD = """
import asyncio, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
sys.path.insert(0, {root!r})
from dataclasses import dataclass, replace
from perseid.formats import TOOLS
from tests.perseid.search.conftest import Late, Toy
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.search import run_searches
from perseid.search.rows import tables

class Slow:
    weights = "scripted"
    concurrency = {concurrency}
    async def generate(self, requests):
        await asyncio.sleep(0.01 if self.concurrency == 0 else 0.002)
        return await Toy().engine.generate(requests)

settings = Settings(candidates=3, rollouts=4, max_depth=4, ppm=True)
services = replace(Toy().late(4), engine=Slow())
try:
    trees = run_searches(Toy().problems(4), RStarMath(settings, TOOLS), 0, services, {journals!r})
except KeyboardInterrupt:
    print("interrupted")
else:
    print(sum(len(tree.nodes) for tree in trees))
"""


def stopped(journals: Path, concurrency: int, after_bytes: int, how: signal.Signals) -> tuple[bool, str]:
    """The signal once the child's journal holds so many bytes: whether it still ran, and its last word."""
    code = CHILD.format(root=str(Path(__file__).parents[3]), journals=str(journals), concurrency=concurrency)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        while child.poll() is None and size_in(journals) < after_bytes:
            time.sleep(0.001)
        ran = child.poll() is None
        child.send_signal(how)
        return ran, child.communicate()[0].strip()


def size_in(journals: Path) -> int:
    return sum(path.stat().st_size for path in journals.glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [0, 4])
def test_a_run_killed_at_any_moment_goes_on_to_the_same_trees(toy: Any, tmp_path: Path, concurrency: int) -> None:
    whole, kills = searched(toy, tmp_path / "whole"), 0
    size = size_in(tmp_path / "whole")
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
    path = path_in(toy, tmp_path / "j")
    kept = path.read_bytes()
    assert searched(toy, tmp_path / "j") == whole
    assert path.read_bytes()[: len(kept)] == kept
