"""No kind of program has more than its part of what trains."""

from perseid.selection.balance import surplus

KINDS = {**{f"s{n}": "Sub" for n in range(8)}, "a0": "Add", "a1": "Add"}
RANKS = {name: 1 + int(name[1]) % 2 for name in KINDS}


def test_the_commonest_kind_loses_what_it_has_above_the_mean_second_best_ones_first() -> None:
    """Ten of two kinds: five is the mean. Of the eight, the even ones are the best of their problems."""
    assert surplus(KINDS, RANKS, 1.0) == ["s7", "s5", "s3"]
    assert surplus(KINDS, RANKS, 1.4) == ["s7"]
    assert surplus(KINDS, RANKS, 2.0) == []


def test_each_kind_keeps_one_and_nothing_has_no_surplus() -> None:
    assert surplus({"a": "Add", "b": "Sub"}, {"a": 1, "b": 1}, 0.1) == []
    assert surplus({"a": "Add", "b": "Add"}, {"a": 1, "b": 2}, 0.1) == ["b"]
    assert surplus({}, {}, 1.0) == []
