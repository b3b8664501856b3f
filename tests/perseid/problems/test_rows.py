"""Rows of files as problems: each oddity of a file has one outcome."""
# ruff: noqa: E501  (a mistake is a line)

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from perseid.errors import UserError
from perseid.problems.making import drawn, first, key
from perseid.problems.settings import Problems
from tests.perseid.problems.conftest import SUMS, before, everything, section

Write = Callable[..., str]
LINES = "".join(f"{json.dumps(row)}\n" for row in SUMS)
TABLE = "id,question,answer,level\n" + "".join(f"{r['id']},{r['question']},{r['answer']},{r['level']}\n" for r in SUMS)
COLUMNS = {"id": "id", "facets": ["level"]}


def told(problems: Problems, root: Path) -> list[tuple[str, Any, dict[str, str]]]:
    items = everything(problems, root)
    return sorted((item.problem.question, item.gold.answer, dict(item.facets)) for item in items)


EXPECTED = sorted((row["question"], row["answer"], {"level": str(row["level"])}) for row in SUMS)
FORMS: dict[str, tuple[str, bytes]] = {
    "jsonl": ("jsonl", LINES.encode()),
    "with a byte order mark": ("jsonl", b"\xef\xbb\xbf" + LINES.encode()),
    "lines that end in CR LF": ("jsonl", LINES.replace("\n", "\r\n").encode()),
    "UTF-16": ("jsonl", LINES.encode("utf-16")),
    "without a last line end, with blank lines": ("jsonl", LINES.rstrip("\n").replace("\n", "\n\n").encode()),
    "gz": ("jsonl", gzip.compress(LINES.encode())),
    "json": ("json", json.dumps(SUMS, indent=1).encode()),
    "json on one line": ("json", json.dumps(SUMS).encode()),
    "json in UTF-16 with CR LF": ("json", json.dumps(SUMS, indent=1).replace("\n", "\r\n").encode("utf-16")),
    "csv": ("csv", TABLE.encode()),
    "csv with a mark and CR LF": ("csv", b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode()),
    "csv in UTF-16": ("csv", TABLE.encode("utf-16")),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_same_rows_are_the_same_problems_in_whatever_form_they_come(
    tmp_path: Path, write: Write, name: str
) -> None:
    source, content = FORMS[name]
    path = write("sums", content)
    problems = section({"source": source, "path": path, "columns": COLUMNS})
    assert problems.unreadable(tmp_path) is None
    assert told(problems, tmp_path) == EXPECTED


def test_parquet_is_read_by_its_columns(tmp_path: Path) -> None:
    pl.DataFrame(SUMS).with_columns(other=pl.lit(b"\0")).write_parquet(tmp_path / "sums.parquet")
    problems = section({"source": "parquet", "path": "sums.parquet", "columns": COLUMNS})
    assert problems.unreadable(tmp_path) is None
    assert told(problems, tmp_path) == EXPECTED


def test_several_files_are_one_source_in_the_order_in_which_they_are_named(tmp_path: Path, write: Write) -> None:
    for part in range(3):
        write(f"part-{part}.jsonl", SUMS[10 * part : 10 * part + 10])
    by_glob = section({"source": "jsonl", "path": "part-*.jsonl", "columns": COLUMNS})
    by_name = section(
        {"source": "jsonl", "path": ["part-2.jsonl", "part-[01].jsonl", "part-0.jsonl"], "columns": COLUMNS}
    )
    assert told(by_glob, tmp_path) == told(by_name, tmp_path) == EXPECTED
    assert key(by_glob, tmp_path) != key(by_name, tmp_path)


def test_a_root_whose_name_looks_like_a_glob_holds_files_like_others(tmp_path: Path, write: Write) -> None:
    root = tmp_path / "a [x]*"
    (root / "data").mkdir(parents=True)
    (tmp_path / write("sums", SUMS)).rename(root / "data/sums.jsonl")
    for path in ("data/s*.jsonl", "data/sums.jsonl", "**/*.jsonl"):
        assert told(section({"source": "jsonl", "path": path, "columns": COLUMNS}), root) == EXPECTED


def test_a_question_may_be_made_of_several_columns_and_a_gold_too(tmp_path: Path, write: Write) -> None:
    row = {"stem": "Which?", "A": "one", "B": "two", "key": "B", "test": "assert f() == 1", "fn": {"name": "f"}}
    path = write("choice.jsonl", [row, {**row, "stem": "Who?"}])
    columns = {"gold": {"tests": "test", "entry_point": "fn.name"}}
    template = "{{ stem }}\n{% for x in [A, B] %}{{ loop.index }}) {{ x }}\n{% endfor %}"
    problems = section(
        {"source": "jsonl", "path": path, "template": template, "columns": columns}, held_out={"problems": 1}
    )
    assert told(problems, tmp_path) == [
        (f"{stem}\n1) one\n2) two\n", {"tests": "assert f() == 1", "entry_point": "f"}, {})
        for stem in ("Which?", "Who?")
    ]


def test_a_gold_may_stand_behind_a_mark_and_before_another(tmp_path: Path, write: Write) -> None:
    rows = [{"question": f"{n}?", "answer": f"#### 0\nthink\n#### {n} . so #### 7 . end"} for n in range(2)]
    source = {"source": "jsonl", "path": write("a.jsonl", rows), "prefix": "Q: ", "suffix": "\nA:"}
    last = section({**source, "gold_after": "####", "gold_before": "."}, held_out={"problems": 1})
    assert told(last, tmp_path) == [("Q: 0?\nA:", "7", {}), ("Q: 1?\nA:", "7", {})]


@pytest.mark.parametrize("gold", [42, 10**400, 4.5, True, False, 0, [1, 2], {"a": None}, "42", "007", "1e3"])
def test_a_gold_is_what_json_says_and_a_text_stays_a_text(tmp_path: Path, write: Write, gold: Any) -> None:
    rows = [{"question": f"{n}?", "answer": gold} for n in range(2)]
    problems = section({"source": "jsonl", "path": write("a.jsonl", rows)}, held_out={"problems": 1})
    found = [item.gold.answer for item in everything(problems, tmp_path)]
    assert found == [gold, gold]
    assert {type(answer) for answer in found} == {type(gold)}


GOOD = [{"question": "1 + 1?", "answer": "2"}, {"question": "2 + 2?", "answer": "4"}]
BAD: dict[str, tuple[Any, str]] = {
    "no such column": ({"question": "3?"}, "expected column answer; it is missing"),
    "no gold": ({"question": "3?", "answer": " "}, "the gold in column answer is empty"),
    "null gold": ({"question": "3?", "answer": None}, "the gold in column answer is empty"),
    "empty list as gold": ({"question": "3?", "answer": []}, "the gold in column answer is empty"),
    "no question": ({"question": "\n", "answer": "3"}, "the question in column question is empty"),
    "a number as question": ({"question": 3, "answer": "3"}, "expected text as question in column question"),
    "a lone surrogate": ({"question": "\ud800", "answer": "3"}, "the question is no text in UTF-8"),
    "NUL in the gold": ({"question": "3?", "answer": "\0"}, "the gold is no text in UTF-8"),
    "a gold nested deep": (
        {"question": "3?", "answer": json.loads("[" * 900 + "]" * 900)},
        "expected at most 100 lists",
    ),
    "no object": ([1], "expected a JSON object, found list"),
    "another gold": ({"question": "1  + 1? ", "answer": "3"}, "the same question has another gold in another row"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_is_named_with_its_file_line_and_reason_or_left_out_and_listed(
    tmp_path: Path, write: Write, name: str
) -> None:
    row, reason = BAD[name]
    path = write("a.jsonl", [GOOD[1], row, *SUMS[4:], GOOD[0]])
    stop = section({"source": "jsonl", "path": path})
    with pytest.raises(UserError) as caught:
        first(stop, 0, tmp_path)
    assert str(caught.value).startswith(f"a.jsonl: line 2: {reason}")
    assert "bad row" in str(caught.value)
    assert str(caught.value).isprintable()
    found = first(section({"source": "jsonl", "path": path, "on_bad_row": "drop"}), 0, tmp_path)
    lost = [(one.row, one.source, one.file, one.line) for one in found.skipped["train"]]
    both = [(1, "jsonl", "a.jsonl", 2)] + [(28, "jsonl", "a.jsonl", 29)] * (name == "another gold")
    assert lost == both
    assert all(one.reason.startswith(reason) for one in found.skipped["train"])


def test_a_column_that_is_missing_in_row_5_000_is_found_when_problems_are_made(tmp_path: Path, write: Write) -> None:
    rows: list[dict[str, Any]] = [{"question": f"{n}?", "answer": n} for n in range(1, 6001)]
    del rows[4999]["answer"]
    problems = section({"source": "jsonl", "path": write("a.jsonl", rows)})
    assert problems.unreadable(tmp_path) is None
    expected = "a.jsonl: line 5000: expected column answer; it is missing; 1 bad row in all; mend them, or leave"
    with pytest.raises(UserError, match=expected):
        first(problems, 0, tmp_path)


def test_many_bad_rows_are_counted_by_reason_and_the_first_are_named(tmp_path: Path, write: Write) -> None:
    rows = [*SUMS, *({"question": f"bad {n}", "answer": "" if n % 2 else None} for n in range(50)), 3]
    with pytest.raises(UserError) as caught:
        first(section({"source": "jsonl", "path": write("a.jsonl", rows)}), 0, tmp_path)
    empty = "the gold in column answer is empty"
    assert str(caught.value) == (
        f"a.jsonl: line 31: {empty}; a.jsonl: line 32: {empty}; a.jsonl: line 33: {empty}; 51 bad rows in all "
        f"(50 times: {empty}, 1 times: expected a JSON object, found int); "
        "mend them, or leave them out by on_bad_row: drop"
    )


def test_the_same_question_with_the_same_gold_counts_once_and_is_no_mistake(tmp_path: Path, write: Write) -> None:
    problems = section({"source": "jsonl", "path": write("a.jsonl", [*SUMS, *SUMS[:3]])})
    found = first(problems, 0, tmp_path)
    assert [(one.row, one.reason) for one in found.skipped["train"]] == [
        (row, "the same question with the same gold stands in an earlier row") for row in (30, 31, 32)
    ]
    assert len(everything(problems, tmp_path)) == 30


def test_an_id_that_stands_twice_is_bad_the_second_time(tmp_path: Path, write: Write) -> None:
    path = write("a.jsonl", [*SUMS, {**SUMS[4], "question": "new?"}])
    source = {"source": "jsonl", "path": path, "columns": {"id": "id"}}
    with pytest.raises(UserError, match=r"a\.jsonl: line 31: another question has this id already"):
        first(section(source), 0, tmp_path)
    kept = everything(section({**source, "on_bad_row": "drop"}), tmp_path)
    assert sorted(item.problem.problem_id for item in kept) == sorted(f"jsonl-{n}" for n in range(1, 31))


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a file that is not there": ({"path": "none.jsonl"}, "path: "),
    "a folder": ({"path": "."}, "path: "),
    "a device": ({"path": "/dev/zero"}, "path: /dev/zero: expected a file of problems, found a device or a pipe"),
    "a glob that matches nothing": ({"path": "no*.jsonl"}, "path: no*.jsonl: matches no file under "),
    "an empty file": ({"path": "empty"}, "path: empty: expected rows, found an empty file"),
    "blank lines alone": ({"path": "blank"}, "path: expected rows, found none"),
    "no JSON": ({"path": "bad"}, "path: bad: line 1: expected a JSON object"),
    "no gzip": ({"path": "bad.gz"}, "path: "),
    "an unknown column": ({"path": "good", "columns": {"gold": "anser"}}, "columns.gold: expected one of the columns question, answer, found anser"),
    "an unknown facet": ({"path": "good", "columns": {"facets": {"level": "lvl"}}}, "columns.facets.level: expected one of"),
    "an unknown column of a template": ({"path": "good", "template": "{{ quest }}"}, "template: expected one of the columns"),
    "a csv without rows": ({"source": "csv", "path": "head"}, "path: expected rows, found none"),
    "a csv with a column twice": ({"source": "csv", "path": "twice"}, "path: twice: line 1: expected each column once"),
    "no list": ({"source": "json", "path": "good"}, "path: good: line 1: expected a list of objects"),
    "a list that is cut": ({"source": "json", "path": "cut"}, "path: cut: line 2: expected JSON"),
    "no Parquet": ({"source": "parquet", "path": "good"}, "path: good: cannot be read as Parquet"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_can_be_known_of_a_file_is_said_when_the_experiment_is_read(
    tmp_path: Path, write: Write, name: str
) -> None:
    source, expected = UNREADABLE[name]
    write("good", GOOD)
    for other, content in (("empty", ""), ("blank", "\n \n"), ("bad", "{\n"), ("head", "question,answer\n")):
        write(other, content)
    write("twice", "question,answer,question\n1,2,3\n")
    write("cut", '[{"question": "1?", "answer": 1},\n{"question"')
    write("bad.gz", b"no gzip at all")
    found = section({"source": "jsonl", **source}).unreadable(tmp_path)
    assert found is not None
    assert f"{found[0]}: {found[1]}".startswith(f"problems.train.1.{expected}")
    assert found[1].isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, write: Write) -> None:
    (tmp_path / write("a.jsonl", SUMS)).chmod(0)
    found = section({"source": "jsonl", "path": "a.jsonl"}).unreadable(tmp_path)
    assert found is not None
    assert "Permission denied" in found[1]


def test_a_file_that_is_cut_within_its_packing_is_named(tmp_path: Path, write: Write) -> None:
    path = write("a.jsonl.gz", gzip.compress(LINES.encode() * 2000)[:-5000])
    with pytest.raises(UserError, match=r"a\.jsonl\.gz: cannot be unpacked"):
        first(section({"source": "jsonl", "path": path, "on_bad_row": "drop"}), 0, tmp_path)


def test_a_line_without_end_is_no_row(tmp_path: Path, write: Write) -> None:
    write("a.jsonl", b'{"question": "' + b"x" * (16 * 2**20))
    found = section({"source": "jsonl", "path": "a.jsonl"}).unreadable(tmp_path)
    assert found is not None
    assert "line 1: expected at most 16,777,216 characters" in found[1]


def test_bytes_that_are_no_utf_8_make_a_bad_row_and_no_other(tmp_path: Path, write: Write) -> None:
    lines = LINES.encode().splitlines(keepends=True)
    lines[7] = lines[7].replace(b"?", b"\xff?")
    problems = section({"source": "jsonl", "path": write("a.jsonl", b"".join(lines)), "on_bad_row": "drop"})
    assert [(one.line, one.reason) for one in first(problems, 0, tmp_path).skipped["train"]] == [
        (8, "the question is no text in UTF-8")
    ]


def test_the_line_of_a_csv_row_is_where_it_begins(tmp_path: Path, write: Write) -> None:
    text = 'question,answer\n"1 +\n1?",2\n"2, 2?",4\n3?\n"say ""4""?",4\n'
    problems = section({"source": "csv", "path": write("a.csv", text), "on_bad_row": "drop"}, held_out={"problems": 1})
    assert [(one.line, one.reason) for one in first(problems, 0, tmp_path).skipped["train"]] == [
        (5, "expected 2 fields, found 1")
    ]
    assert {question for question, *_ in told(problems, tmp_path)} == {"1 +\n1?", "2, 2?", 'say "4"?'}


def test_a_moved_or_renamed_file_is_the_same_and_a_changed_one_another(tmp_path: Path, write: Write) -> None:
    write("a.jsonl", SUMS)
    here, moved = (section({"source": "jsonl", "path": name, "columns": COLUMNS}) for name in ("a.jsonl", "b.jsonl"))
    was, found = key(here, tmp_path), told(here, tmp_path)
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    assert key(moved, tmp_path) == was
    assert told(moved, tmp_path) == found
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write(json.dumps({"id": 31, "question": "31 + 31?", "answer": "62"}))
    assert key(moved, tmp_path) != was


def test_a_mistake_in_a_row_s_template_is_a_bad_row(tmp_path: Path, write: Write) -> None:
    rows = [{"a": 1, "answer": 1}, {"a": "x", "answer": 1}, {"answer": 1}, {"a": 10**9, "answer": 1}]
    template = "{{ 6 // a }} {% for i in range([a, 9000] | min) %}{{ '%9999d' % i }}{% endfor %}"
    source = {"source": "jsonl", "path": write("a.jsonl", rows), "template": template, "on_bad_row": "drop"}
    found = list(section(source).train[0].opened(0, tmp_path).read())
    assert [bool(read.fault) for read in found] == [False, True, True, True]
    assert found[2].fault == "the template fails: 'a' is undefined"
    assert "more than 1,000,000 characters" in found[3].fault


def test_one_facet_may_be_named_without_a_list(tmp_path: Path, write: Write) -> None:
    problems = section({"source": "jsonl", "path": write("a.jsonl", SUMS), "columns": {"id": "id", "facets": "level"}})
    assert told(problems, tmp_path) == EXPECTED


def test_a_pool_is_drawn_of_what_was_searched_least(tmp_path: Path, write: Write) -> None:
    problems = section(
        {"source": "jsonl", "path": write("a.jsonl", SUMS)}, held_out={"problems": 9}, pool={"problems": 8}
    )
    found = first(problems, 0, tmp_path)
    pools: list[Any] = []
    for number in range(1, 5):
        pools.append(drawn(problems, 0, tmp_path, number, before(found, *pools)))
    names = [[item.problem.problem_id for item in pool] for pool in pools]
    assert [len(pool) for pool in pools] == [8] * 4
    once = {*names[0], *names[1], *names[2]}
    assert len(once) == 21  # 24 were asked for: three of the third round are searched again
    assert not once & {item.problem.problem_id for item in found.held_out}
    assert len({*names[2], *names[3]} & once) == len({*names[2], *names[3]})
    assert names[0] == [item.problem.problem_id for item in drawn(problems, 0, tmp_path, 1, before(found))]
    other = drawn(problems, 1, tmp_path, 1, before(found))
    assert [item.problem.problem_id for item in other] != names[0]


def test_a_pool_of_new_problems_alone_stops_where_there_are_too_few(tmp_path: Path, write: Write) -> None:
    pool = {"problems": 12, "again": False}
    problems = section({"source": "jsonl", "path": write("a.jsonl", SUMS)}, held_out={"problems": 9}, pool=pool)
    found = first(problems, 0, tmp_path)
    one = drawn(problems, 0, tmp_path, 1, before(found))
    with pytest.raises(UserError, match="at least 12 problems that no round searched before for round 2, found 9"):
        drawn(problems, 0, tmp_path, 2, before(found, one))


def test_a_pool_without_a_number_is_everything_every_round(tmp_path: Path, write: Write) -> None:
    problems = section({"source": "jsonl", "path": write("a.jsonl", SUMS)}, held_out={"problems": 9})
    found = first(problems, 0, tmp_path)
    one = drawn(problems, 0, tmp_path, 1, before(found))
    assert len(one) == 21
    assert drawn(problems, 0, tmp_path, 2, before(found, one)) == one
