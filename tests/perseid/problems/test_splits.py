"""What is held out: which side a problem stands on, and that no question is on both."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from perseid.errors import UserError
from perseid.mistakes import described
from perseid.problems.making import first
from perseid.problems.settings import Problems
from tests.perseid.problems.conftest import SUMS, section

Write = Callable[..., str]


def held_out(problems: Problems, root: Path) -> set[str]:
    return {item.problem.question for item in first(problems, 0, root).held_out}


def test_a_share_stays_where_it_is_when_rows_come_or_change_their_order(tmp_path: Path, write: Write) -> None:
    many = [{"question": f"{n}?", "answer": n} for n in range(2000)]
    source = {"source": "jsonl", "path": write("a.jsonl", many[:1000])}
    share = held_out(section(source, held_out={"share": 0.2}), tmp_path)
    assert 150 < len(share) < 250
    write("a.jsonl", many[::-1])
    more = held_out(section(source, held_out={"share": 0.2}), tmp_path)
    assert share == {question for question in more if int(question[:-1]) < 1000}
    assert held_out(section(source, held_out={"share": 0.2, "seed": 1}), tmp_path) != more


def test_so_many_problems_are_held_out_exactly(tmp_path: Path, write: Write) -> None:
    source = {"source": "jsonl", "path": write("a.jsonl", SUMS)}
    assert len(held_out(section(source, held_out={"problems": 7}), tmp_path)) == 7


@pytest.mark.parametrize("split", [{"share": 0.4}, {"problems": 5}])
def test_a_group_is_on_one_side(tmp_path: Path, write: Write, split: dict[str, Any]) -> None:
    rows = [{"question": f"{n}?", "answer": n, "story": f"s{n // 3}"} for n in range(60)]
    source = {"source": "jsonl", "path": write("a.jsonl", rows), "columns": {"facets": ["story"]}}
    found = held_out(section(source, held_out={**split, "by": "story"}), tmp_path)
    sides = {row["story"]: row["question"] in found for row in rows}
    assert found == {row["question"] for row in rows if sides[str(row["story"])]}
    assert len(found) % 3 == 0
    assert 3 < len(found) < 60


def test_a_column_says_what_is_held_out(tmp_path: Path, write: Write) -> None:
    rows = [{**row, "split": "test" if row["level"] == 2 else "train"} for row in SUMS]
    source = {"source": "jsonl", "path": write("a.jsonl", rows)}
    found = held_out(section(source, held_out={"column": "split", "values": ["test"]}), tmp_path)
    assert found == {row["question"] for row in rows if row["split"] == "test"}


def test_a_held_out_question_among_the_training_rows_is_what_is_wrong_with_them(tmp_path: Path, write: Write) -> None:
    apart = [{"kind": "number", "source": "jsonl", "path": write("test.jsonl", SUMS[:5])}]
    rows = [*SUMS[5:], {"question": " 3  + 3? ", "answer": "6"}]
    source = {"source": "jsonl", "path": write("train.jsonl", rows)}
    with pytest.raises(UserError, match=r"train\.jsonl: line 26: its question is held out; 1 bad row in all"):
        first(section(source, held_out=apart), 0, tmp_path)
    found = first(section({**source, "on_bad_row": "drop"}, held_out=apart), 0, tmp_path)
    assert [(one.file, one.line) for one in found.skipped["train"]] == [("train.jsonl", 26)]
    assert len(found.held_out) == 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"column": "level", "values": ["9"]}, "expected problems on both sides, found 0 held out and 30 left"),
        ({"problems": 30}, "expected problems on both sides, found 30 held out and 0 left"),
    ],
)
def test_a_split_with_nothing_on_a_side_is_refused(
    tmp_path: Path, write: Write, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        first(section({"source": "jsonl", "path": write("a.jsonl", SUMS)}, held_out=given), 0, tmp_path)


MISTAKES = [
    ({}, "held_out", "expected one of share, problems, column (or a list of sources), found none"),
    (
        {"share": 0.1, "problems": 3},
        "held_out",
        "expected one of share, problems, column (or a list of sources), found",
    ),
    ({"share": 1.0}, "held_out.share", "expected a number in (0, 1), found 1.0"),
    ({"problems": 0}, "held_out.problems", "expected a whole number in [1, 10000000], found 0"),
    ({"column": "a"}, "held_out.values", "expected the values of the column that are held out"),
    ({"share": 0.1, "values": ["a"]}, "held_out.values", "expected the values of the column"),
    ({"column": "a", "values": ["b"], "by": "c"}, "held_out.by", "has no effect beside column"),
    ({"share": 0.1, "by": "story"}, "held_out.by", "expected a facet of every source, and train.1 has no story"),
    ({"shre": 0.1}, "held_out.shre", "there is no such key (did you mean share?)"),
    ([], "held_out", "expected a list of at least 1, found none"),
    ([3], "held_out.1", "expected a source, a mapping with the key source, found 3"),
    ([{"source": "jsnl"}], "held_out.1.source", "'jsnl' is not known (did you mean jsonl?)"),
    ([{"source": "jsonl", "kind": "number"}], "held_out.1.path", "expected a list; it is missing"),
    ([{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": []}], "held_out.1", "expected another source"),
    (3, "held_out", "expected a list of sources, or a split of the training sources, found 3"),
    (None, "held_out", "expected a list of sources, or share, problems or column of train's; it is missing"),
]


@pytest.mark.parametrize(("given", "where", "expected"), MISTAKES)
def test_a_mistake_names_its_key(given: Any, where: str, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section({"source": "jsonl", "path": "a"}, held_out=given)
    found = described(caught.value, Problems)
    assert found[0] == where
    assert found[1].startswith(expected)


SOURCE = [
    ({"columns": {"facets": {"all": "x"}}}, "columns.facets.all", "expected letters, digits, _ and -"),
    ({"columns": {"facets": ["a b"]}}, "columns.facets.a b", "expected letters, digits, _ and -"),
    ({"columns": {"gold": {}}}, "columns.gold", "expected a column, or a mapping of names to columns"),
    ({"columns": {"questoin": "a"}}, "columns.questoin", "there is no such key (did you mean question?)"),
    ({"template": "{{ a"}, "template", "expected a Jinja template: "),
    ({"template": "{{ a }}", "prefix": "b"}, "prefix", "has no effect beside a template: write it there"),
    ({"template": "{{ a }}", "columns": {"question": "q"}}, "columns.question", "has no effect beside a template"),
    ({"columns": {"gold": {"tests": "t"}}, "gold_after": "##"}, "gold_after", "has no effect on a gold of several"),
    ({"name": "a b"}, "name", "expected letters, digits, _, - and ., at most 64"),
    ({"path": []}, "path", "expected a list of at least 1, found none"),
    ({"path": ["a\n"]}, "path.1", "expected the path of a file, or a glob"),
    ({"on_bad_row": "skip"}, "on_bad_row", "'skip' is not known; expected one of stop, drop"),
    ({"kind": 3}, "kind", "expected text, found 3"),
    ({"delimiter": ","}, "delimiter", "there is no such key"),
]


@pytest.mark.parametrize(("given", "where", "expected"), SOURCE)
def test_a_mistake_in_a_source_names_its_key(given: dict[str, Any], where: str, expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        section({"source": "jsonl", "path": "a", **given})
    found = described(caught.value, Problems)
    assert found[0] == f"train.1.{where}"
    assert found[1].startswith(expected)
