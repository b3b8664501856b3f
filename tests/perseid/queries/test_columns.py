"""What leaves DuckDB can be shown, whatever SQL made it."""

import math

import pytest

from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.queries import run_query


def test_columns_of_one_name_are_told_apart(store: Store) -> None:
    assert run_query(store, "select 1 as a, 2 as a, 3 as a_2, 4 as a").to_dicts() == [
        {"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}
    ]


def test_a_join_of_two_views_keeps_both_keys(store: Store) -> None:
    found = run_query(store, "select n.key, p.key from nodes n join pools p using (problem_id)")
    assert found.columns == ["key", "key_2"]


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("interval '1 day'", "1 day"),
        ("[interval '1 day']", "[1 day]"),
        ("timestamp 'infinity'", "infinity"),
        ("date '-infinity'", "-infinity"),
        ("date '2000-01-31' + 100000000", "275790-10-13"),
        ("union_value(a := 1)", "1"),
        ("map {'a': interval '1 day'}", "{a=1 day}"),
        ("'101'::bit", "101"),
    ],
)
def test_what_no_data_frame_holds_leaves_as_text(store: Store, sql: str, text: str) -> None:
    assert run_query(store, f"select {sql} as x").to_dicts() == [{"x": text}]


def test_lists_and_structs_of_plain_values_leave_as_they_are(store: Store) -> None:
    assert run_query(store, "select [1, 2] as x, {'a': [true]} as y").to_dicts() == [{"x": [1, 2], "y": {"a": [True]}}]


def test_a_number_that_64_bits_cannot_hold_is_rounded_and_others_are_not(store: Store) -> None:
    [row] = run_query(store, "select sum(2::hugeint ** 126) as great, sum(7) as small from range(1)").to_dicts()
    assert math.isclose(row["great"], 2.0**126)
    assert (row["small"], type(row["small"])) == (7, int)


def test_bytes_that_are_no_utf_8_are_a_mistake(store: Store) -> None:
    with pytest.raises(UserError, match="expected text in UTF-8"):
        run_query(store, "select '\udcff'")
    with pytest.raises(UserError, match="experiment: expected text in UTF-8"):
        run_query(store, "discoveries", {"experiment": "\udcff"})
