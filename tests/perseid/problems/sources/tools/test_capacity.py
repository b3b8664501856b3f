"""How many questions there are: the numbers are true, and what is counted is what is drawn."""

from collections import Counter

import pytest

from perseid.problems.sources.tools import Pool, Settings
from perseid.problems.sources.tools.capacity import MOST, MOST_COMPOSED, asked, excess
from perseid.problems.sources.tools.drawing import Tools, _Stream
from perseid.problems.sources.tools.families import COMPOSITIONS, FAMILIES

POOLS = [("problems.pool", Pool(demonstrated=1, undemonstrated=2, composed=1)), ("rounds.2.pool", Pool(composed=0))]
SETTINGS = Settings(
    demonstrated=("products", "gcd"),
    undemonstrated=("lcm", "count_primes", "to_binary"),
    demonstrated_compositions=("double",),
    undemonstrated_compositions=("square", "reverse"),
    demonstrations=5,
    demonstrations_composed=4,
    explorations=3,
    explorations_composed=2,
    drills=0,
)


def test_what_is_counted_is_what_is_drawn() -> None:
    counted: Counter[tuple[str, str]] = Counter()
    for one in asked(SETTINGS, "problems.train.1", POOLS):
        counted[one.family, one.composition] += one.asks
    tools = Tools(SETTINGS, 0)
    found = tools.brought()
    built = [*found.held_out, *found.shown]
    for number, (_, pool) in enumerate(POOLS, 1):
        built += tools.draw(number, pool, [(item.problem, item.facets) for item in built])
    assert +counted == Counter((item.facets["family"], item.facets.get("composition", "")) for item in built)


def test_an_excess_names_the_key_that_asks_most_the_family_and_the_most_there_are() -> None:
    settings = Settings(demonstrated=("gcd",), undemonstrated=("weekday",), drills=0)
    pools = [("problems.pool", Pool()), ("rounds.2.pool", Pool(undemonstrated=290))]
    assert excess(asked(settings, "problems.train.1", pools), fresh=2) is None  # 40 + 13 + 20 + 290 + 2 = 365
    assert excess(asked(settings, "problems.train.1", pools), fresh=3) == (
        "rounds.2.pool.undemonstrated",
        "expected at most 365 questions of weekday, which has no more; "
        "found 363 in all rounds and splits, and 3 fresh ones",
    )


@pytest.mark.parametrize("name", ["weekday", "prime_factorization"])
def test_a_small_family_has_exactly_that_many(name: str) -> None:
    assert drawn(name, "", MOST[name]) == MOST[name]
    with pytest.raises(ValueError, match="none is left"):
        drawn(name, "", MOST[name] + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "composition"), [*((name, "") for name in MOST), *MOST_COMPOSED])
def test_that_many_questions_can_be_drawn(name: str, composition: str) -> None:
    most = MOST_COMPOSED[name, composition] if composition else MOST[name]
    assert drawn(name, composition, most) == most


def drawn(name: str, composition: str, count: int) -> int:
    stream = _Stream(FAMILIES[name], COMPOSITIONS.get(composition), seed=1)
    seen: set[str] = set()
    while len(seen) < count:
        seen.add(stream.new(lambda data: data not in seen)[0])
    return len(seen)
