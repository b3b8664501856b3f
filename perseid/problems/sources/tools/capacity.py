"""How many distinct questions a family has, and whether an experiment asks for more: known without drawing any.

The numbers are of the generators as `FAMILIES` configures them, and a test draws them. Where drawing the last ones
would take minutes, the number is what a draw reaches soon. Families and pairs that are not listed have at least
`OTHERS`. Fresh instances come from the same questions: they are never those of the experiment.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from perseid.problems.sources.tools.drawing import composed_pairs
from perseid.problems.sources.tools.settings import Pool, Settings

OTHERS: Final = 50_000
MOST: Final = {
    "weekday": 365,
    "prime_factorization": 740,
    "to_binary": 4_500,
    "gcd": 5_000,
    "fraction_simplification": 19_000,
}
MOST_COMPOSED: Final = {("products", "square"): 900, ("products", "double_square"): 900}


class Asked(NamedTuple):
    """How many questions a key of the file asks of a family, or of a family and composition."""

    key: str
    family: str
    composition: str
    asks: int


def asked(settings: Settings, where: str, pools: Sequence[tuple[str, Pool]]) -> Iterator[Asked]:
    """All that an experiment asks. `where`: the settings' own key; `pools`: a pool a round, each with its key."""
    trained, apart = composed_pairs(settings)
    for name in (*settings.demonstrated, *settings.undemonstrated):
        taught = "demonstrations" if name in settings.demonstrated else "explorations"
        for key in (taught, "held_out", "held_out_wordings"):
            yield Asked(f"{where}.{key}", name, "", getattr(settings, key))
    for family, composition in trained:
        known = family.name in settings.demonstrated and composition.name in settings.demonstrated_compositions
        for key in ("demonstrations_composed" if known else "explorations_composed", "held_out_composed"):
            yield Asked(f"{where}.{key}", family.name, composition.name, getattr(settings, key))
    for family, composition in apart:
        yield Asked(f"{where}.held_out_compositions", family.name, composition.name, settings.held_out_compositions)
    for key, pool in pools:
        for name in settings.demonstrated:
            yield Asked(f"{key}.demonstrated", name, "", pool.demonstrated)
        for name in settings.undemonstrated:
            yield Asked(f"{key}.undemonstrated", name, "", pool.undemonstrated)
        for family, composition in trained:
            yield Asked(f"{key}.composed", family.name, composition.name, pool.composed)


def excess(wanted: Iterable[Asked], fresh: int) -> tuple[str, str] | None:
    """The key that asks most of what is asked too often, and what was expected; None where all can be drawn.

    fresh: new instances of each question, which are no question of the experiment.
    """
    families: dict[str, Counter[str]] = {}
    pairs: dict[tuple[str, str], Counter[str]] = {}
    for key, family, composition, asks in wanted:
        families.setdefault(family, Counter())[key] += asks
        if composition:
            pairs.setdefault((family, composition), Counter())[key] += asks
    for family, counts in families.items():
        if found := _excess(family, counts, MOST.get(family, OTHERS), fresh):
            return found
    for (family, composition), counts in pairs.items():
        most = MOST_COMPOSED.get((family, composition), OTHERS)
        if found := _excess(f"{family} with {composition}", counts, most, fresh):
            return found
    return None


def _excess(name: str, counts: Counter[str], most: int, fresh: int) -> tuple[str, str] | None:
    total = counts.total()
    if total == 0 or total + fresh <= most:
        return None
    key = max(counts, key=lambda key: counts[key])
    wanted = f"found {total:,} in all rounds and splits, and {fresh:,} fresh ones"
    return key, f"expected at most {most:,} questions of {name}, which has no more; {wanted}"
