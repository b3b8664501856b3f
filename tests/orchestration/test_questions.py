"""What `query` and `lineage` print."""

import json
from pathlib import Path

import pytest

from orchestration.questions import answer, cell, check, parameters
from perseid.artifacts import Store
from perseid.queries import Limits

ENDLESS = "select range as n from range(100000000000)"


def printed(capsys: pytest.CaptureFixture[str], root: Path, sql: str, limit: int | None, as_json: bool) -> str:
    answer(Store(root), sql, {}, limit, as_json, Limits())
    return capsys.readouterr().out


def test_a_table_shows_a_screenful_or_the_limit_and_says_that_there_is_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = printed(capsys, tmp_path, ENDLESS, None, False).split()
    assert shown[:2] + shown[50:52] == ["n", "0", "49", "more"]
    assert printed(capsys, tmp_path, ENDLESS, 2, False).split() == "n 0 1 more rows; --limit 0 prints all".split()
    assert printed(capsys, tmp_path, "select 1 as n", None, False).split() == ["n", "1"]


def test_json_holds_all_rows_unless_a_limit_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(json.loads(printed(capsys, tmp_path, "from range(70)", None, True))) == 70
    assert json.loads(printed(capsys, tmp_path, ENDLESS, 2, True)) == [{"n": 0}, {"n": 1}]


def test_json_has_null_for_numbers_that_it_cannot_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select 'nan'::double as a, 'inf'::float as b, 0.5::double as c, null::double as d, 1 as e"
    assert json.loads(printed(capsys, tmp_path, sql, None, True)) == [
        {"a": None, "b": None, "c": 0.5, "d": None, "e": 1}
    ]


def test_what_a_terminal_would_obey_is_shown_and_not_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select chr(27) || '[2J' || chr(10) || chr(8238) as \"a\u001b[31m\""
    shown = printed(capsys, tmp_path, sql, None, False)
    assert r"a\x1b[31m" in shown
    assert r"\x1b[2J ⏎ \u202e" in shown
    assert shown.replace("\n", "").isprintable()
    assert cell(0.12345).plain == "0.123"
    assert cell("x" * 100).plain == "x" * 59 + "…"


def test_a_parameter_may_be_an_artifact_as_lineage_prints_it() -> None:
    key, version = "x/round_01/policy", "0123456789abcdef"
    given = [f"checkpoint=perseid://{key}@{version}"]
    assert parameters(given, "problems_of_checkpoint", None) == {"checkpoint": key, "version": version}
    assert parameters([f"checkpoint=perseid://{key}"], "problems_of_checkpoint", None) == {"checkpoint": key}


def test_one_artifact_that_is_whole_is_told_in_the_singular(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path)
    for key, told in (("x/one", "1 artifact, "), ("x/two", "2 artifacts, ")):
        with store.draft(key) as draft:
            draft.path("content").write_text(key)
            draft.publish("c" * 16, {})
        assert check(store, [], as_json=False) == 0
        assert capsys.readouterr().out.startswith(told)
