"""A JSON list read one by one: across the pieces in which a file is read, and with the line of each element."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perseid.errors import UserError
from perseid.problems.sources.json import Settings

Write = Callable[..., str]


def rows(root: Path, path: str) -> list[tuple[int, object]]:
    return [(row.line, row.values or row.fault) for row in Settings(path=(path,), kind="text").rows(root)]


@pytest.mark.parametrize("indent", [None, 0, 3])
def test_a_list_of_several_megabytes_is_read_as_json_reads_it(tmp_path: Path, write: Write, indent: int | None) -> None:
    made = [{"n": n, "text": 'ä\n"]},{[' * (n % 50), "more": [n, {"x": None}]} for n in range(12_000)]
    text = json.dumps(made, indent=indent, ensure_ascii=False)
    found = rows(tmp_path, write("a.json", text))
    assert [values for _, values in found] == made
    lines = text.splitlines()
    assert all(
        lines[line - 1].lstrip(" [").startswith("{") for line, _ in found[:: 500 if indent is not None else 12_000]
    )


def test_an_element_longer_than_a_piece_is_whole(tmp_path: Path, write: Write) -> None:
    made = [{"text": "x" * 3_000_000}, {"text": "y"}]
    assert [values for _, values in rows(tmp_path, write("a.json", json.dumps(made)))] == made


def test_what_is_no_object_is_a_bad_row_and_the_next_is_read(tmp_path: Path, write: Write) -> None:
    found = rows(tmp_path, write("a.json", '[1,\n"x", {"a": 1}\n, [2], null, {"a": NaN}]'))
    assert found == [
        (1, "expected a JSON object, found int"),
        (2, "expected a JSON object, found str"),
        (2, {"a": 1}),
        (3, "expected a JSON object, found list"),
        (3, "expected a JSON object, found NoneType"),
        (3, "expected a JSON object: NaN is no JSON"),
    ]


def test_an_empty_list_has_no_rows(tmp_path: Path, write: Write) -> None:
    assert rows(tmp_path, write("a.json", " [ \n ] \n")) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", "line 1: expected a list of objects"),
        ("", "line 1: expected a list of objects"),
        ('[{"a": 1}\n{"a": 2}]', "line 2: expected a comma or the end of the list"),
        ('[{"a": 1},\n]', "line 2: expected an object after the comma"),
        ('[{"a": 1}]\n[]', "line 2: expected nothing after the list"),
        ('[{"a": 1}', "line 1: expected a comma or the end of the list"),
        ('[{"a": 1', "line 1: expected JSON"),
        ("[" * 100_000, "line 1: expected a list of objects: nested too deep"),
    ],
)
def test_what_is_no_list_names_its_line(tmp_path: Path, write: Write, text: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        rows(tmp_path, write("a.json", text))
    assert str(caught.value).startswith(f"a.json: {told}")
