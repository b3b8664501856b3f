import pytest

from orchestration.report import shortfall


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("greedy_refused", 0.25, "greedy: 7 of 28 questions refused by the engine, which count as not right"),
        ("control greedy_untold", 1 / 28, "control greedy: 1 of 28 cannot be told right or wrong, and are left out"),
        ("greedy_refused", 0.0, ""),
        ("greedy_pass@1", 0.25, ""),
    ],
)
def test_what_was_refused_or_cannot_be_told_is_counted_in_words(name: str, value: float, said: str) -> None:
    assert shortfall(name, {"value": value, "low": 0.0, "high": 1.0, "n": 28}) == said
