"""Questions drawn from `reasoning-gym`, disjoint by what they ask, in wordings and compositions kept apart.

Three splits: `demonstration` (what the teacher works on), `pool` (fresh questions for the search of each round) and
`held_out` (evaluation). No two questions share family and data, across all splits. Of the held-out questions some use a
wording, others a (family, composition) pair, that stands in neither of the other splits.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast

from perseid.errors import UserError
from perseid.problems.problem import Demonstration, Gold, Item, Problem
from perseid.problems.source import Asked, Brought, seed_of
from perseid.problems.sources.tools.families import COMPOSITIONS, FAMILIES, Composition, Entry, Family
from perseid.problems.sources.tools.settings import Pool, Settings
from perseid.problems.sources.tools.teacher import FUNCTIONS, READERS, Kind, program, random_program
from perseid.section import Section

if TYPE_CHECKING:
    import polars as pl

NAME: Final = "tools"
Part = Literal["seen", "new_wording", "new_composition"]

VERSION = "1"  # raised by hand when the same settings and families come to draw other questions, or teach other texts
HELD_OUT_COMPOSITIONS = 4  # one (family, composition) pair in so many is asked in the held-out split alone
PATIENCE = 30_000  # draws in a row of what was drawn already, after which a family has no more questions


@dataclass(frozen=True)
class Draw:
    """What to draw: what it shares with training, in which wordings."""

    part: Part = "seen"
    new_wording: bool = False


@dataclass(frozen=True)
class Tools:
    """The toy as a source: it brings its held-out set and demonstrations, draws pools, asks anew."""

    settings: Settings
    seed: int

    @property
    def name(self) -> str:
        return NAME

    def brought(self) -> Brought:
        """Raises `UserError` for more questions than a family has."""
        builder = _Builder(self.settings, self.seed)
        builder.build()
        return Brought(builder.held_out, builder.shown, builder.demonstrations)

    def draw(self, round: int, pool: Section, before: Sequence[Asked]) -> list[Item]:
        """The same whoever asks: a stream is drawn from in order, and all that was taken of it stands in `before`."""
        builder = _Builder(self.settings, self.seed)
        builder.seen = {(facets["family"], data_of(problem, facets)) for problem, facets in before}
        return builder.pool(cast(Pool, pool))

    def fresh(
        self, problem: Problem, facets: Mapping[str, str], n: int, asked: Collection[str]
    ) -> list[tuple[Problem, Gold]]:
        """Of no question of the experiment is the data taken again, in whatever wording it stood."""
        family, composition = FAMILIES[facets["family"]], COMPOSITIONS.get(facets.get("composition", ""))
        known = asked if isinstance(asked, Set) else frozenset(asked)
        stream = _Stream(family, composition, seed_of(self.seed, "fresh", problem.problem_id))
        found: dict[str, str] = {}
        while len(found) < n:
            slot, answer = stream.new(lambda slot: slot not in found and known.isdisjoint(_texts(family, slot)))
            found[slot] = answer
        drawn = (_item(family, composition, facets["wording"], slot, answer, "seen") for slot, answer in found.items())
        return [(item.problem, item.gold) for item in drawn]

    def broken(self, placed: "pl.DataFrame") -> "pl.DataFrame":
        from perseid.problems.sources.tools.promises import broken

        return broken(placed)


def composed_pairs(
    settings: Settings,
) -> tuple[list[tuple[Family, Composition]], list[tuple[Family, Composition]]]:
    """The (family, composition) pairs asked in training, and those asked in the held-out split alone."""
    names = (*settings.demonstrated_compositions, *settings.undemonstrated_compositions)
    families = [FAMILIES[name] for name in (*settings.demonstrated, *settings.undemonstrated) if FAMILIES[name].integer]
    pairs: list[tuple[Family, Composition]] = []
    apart: list[tuple[Family, Composition]] = []
    for (i, name), (j, family) in itertools.product(enumerate(names), enumerate(families)):
        if family.reach > COMPOSITIONS[name].least:
            alone = (i + j) % HELD_OUT_COMPOSITIONS == HELD_OUT_COMPOSITIONS - 1
            alone = alone and not _demonstrates(settings, family, COMPOSITIONS[name])
            (apart if alone else pairs).append((family, COMPOSITIONS[name]))
    return pairs, apart


def _demonstrates(settings: Settings, family: Family, composition: Composition | None) -> bool:
    known = composition is None or composition.name in settings.demonstrated_compositions
    return known and family.name in settings.demonstrated


@dataclass
class _Builder:
    """Draws questions from one stream a (family, composition), so that no two splits share one."""

    settings: Settings
    seed: int
    streams: dict[tuple[str, str], "_Stream"] = field(default_factory=dict)
    held_out: list[Item] = field(default_factory=list)
    shown: list[Item] = field(default_factory=list)
    demonstrations: list[Demonstration] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def families(self) -> list[Family]:
        return [FAMILIES[name] for name in (*self.settings.demonstrated, *self.settings.undemonstrated)]

    def build(self) -> None:
        size = self.settings
        trained, apart = composed_pairs(size)
        for family in self.families:
            self.teach(family, None, size.demonstrations, size.explorations)
            self.held_out += self.draw(family, None, size.held_out)
            new = Draw("new_wording", new_wording=True)
            self.held_out += self.draw(family, None, size.held_out_wordings, new)
        for family, composition in trained:
            self.teach(family, composition, size.demonstrations_composed, size.explorations_composed)
            self.held_out += self.draw(family, composition, size.held_out_composed)
        for family, composition in apart:
            self.held_out += self.draw(family, composition, size.held_out_compositions, Draw("new_composition"))
        self.drill(self.families)

    def pool(self, size: Pool) -> list[Item]:
        drawn: list[Item] = []
        for family in self.families:
            known = family.name in self.settings.demonstrated
            drawn += self.draw(family, None, size.demonstrated if known else size.undemonstrated)
        for family, composition in composed_pairs(self.settings)[0]:
            drawn += self.draw(family, composition, size.composed)
        return drawn

    def draw(self, family: Family, composition: Composition | None, n: int, what: Draw = Draw()) -> list[Item]:
        """`n` new problems, their wordings in turn."""
        key = (family.name, composition.name if composition else "")
        stream = self.streams.setdefault(key, _Stream(family, composition, seed_of(self.seed, *key)))
        wordings = family.wordings[-1:] if what.new_wording else family.wordings[:-1]
        drawn = []
        for wording in itertools.islice(itertools.cycle(wordings), n):
            slot, answer = stream.new(lambda slot: (family.name, slot) not in self.seen)
            self.seen.add((family.name, slot))
            drawn.append(_item(family, composition, str(family.wordings.index(wording)), slot, answer, what.part))
        return drawn

    def teach(self, family: Family, composition: Composition | None, solved: int, explored: int) -> None:
        """Demonstrations where the teacher knows the way, random programs that merely run elsewhere."""
        if _demonstrates(self.settings, family, composition):
            tools = family.solution + (composition.solution if composition else ())
            for problem in self.worked(family, composition, solved):
                self.show("demonstration", problem.problem_id, problem.question, tools)
            return
        rng = random.Random(seed_of(self.seed, "explore", family.name, composition.name if composition else ""))
        for problem in self.worked(family, composition, explored):
            calls = rng.choice((1, 1, 2, 2, 3)) + (composition is not None)
            self.show("exploration", problem.problem_id, problem.question, random_program(problem.question, rng, calls))

    def worked(self, family: Family, composition: Composition | None, n: int) -> list[Problem]:
        drawn = self.draw(family, composition, n)
        self.shown += drawn
        return [item.problem for item in drawn]

    def drill(self, families: list[Family]) -> None:
        """Questions that name the tools to call, every tool in turn, over the data of a random family."""
        rng = random.Random(seed_of(self.seed, "drill"))
        for i in range(self.settings.drills):
            reader = READERS[i % len(READERS)]
            asked = [family for family in families if family.solution[0] == reader] or families
            slot, _ = _Stream(rng.choice(asked), None, seed_of(self.seed, "drill", i)).new(lambda slot: True)
            tools = (reader, *rng.sample(FUNCTIONS, k=rng.randint(1, 4)))
            question = f"Use {' then '.join(tools)}: {slot}"
            self.show("drill", "", question, tools)

    def show(self, kind: Kind, problem_id: str, question: str, tools: tuple[str, ...]) -> None:
        example_id = hashlib.sha256(f"{kind}/{question}".encode()).hexdigest()[:16]
        self.demonstrations.append(Demonstration(example_id, kind, problem_id, question, program(tools)))


class _Stream:
    """The questions of a (family, composition), as (data in text, answer), in the order in which they are drawn."""

    def __init__(self, family: Family, composition: Composition | None, seed: int) -> None:
        self.family, self.composition = family, composition
        self.draws = self._draws(seed)
        self.known: set[str] = set()  # all data that was ever drawn

    def new(self, is_new: Callable[[str], bool]) -> tuple[str, str]:
        """The next question whose data `is_new`. Raises `UserError` with the most there are, if none is left."""
        barren = 0
        while barren < PATIENCE:
            question = next(self.draws)
            barren = barren + 1 if question is None or question[0] in self.known else 0
            if question is not None:
                self.known.add(question[0])
                if is_new(question[0]):
                    return question
        name = self.family.name + (f" + {self.composition.name}" if self.composition else "")
        most = f"{name} has about {len(self.known)} distinct questions, and none is left"
        raise UserError("experiment", "problems", f"expected fewer questions of {self.family.name}: {most}")

    def _draws(self, seed: int) -> Iterator[tuple[str, str] | None]:
        """Without end; None for weak answers and others that are left out."""
        import reasoning_gym

        family = self.family
        for block in itertools.count():
            # An item's seed is the set's plus its index, so blocks need seeds that are further apart than their size.
            items = reasoning_gym.create_dataset(
                family.generator, seed=seed_of(seed, block) % 2**31, size=2000, **family.config
            )
            for item in items:
                yield _question(family, self.composition, item)


def _question(family: Family, composition: Composition | None, item: Entry) -> tuple[str, str] | None:
    if not family.keep(item) or (family.integer and _weak(int(item["answer"]), family.least)):
        return None
    if composition is None:
        return family.slot(item), str(item["answer"])
    if composition.least <= int(item["answer"]) <= composition.limit:
        return family.slot(item), composition.answer(int(item["answer"]))
    return None


def _texts(family: Family, slot: str) -> Iterator[str]:
    """Every question that the family asks of this data."""
    for wording, composition in itertools.product(family.wordings, (None, *COMPOSITIONS.values())):
        yield _text(wording, slot, composition)


def _text(wording: str, slot: str, composition: Composition | None) -> str:
    question = wording.format(slot)
    if composition is None:
        return question
    return question + (" " if question[-1] in "?." else ". ") + composition.wording


def _weak(answer: int, least: int) -> bool:
    """Too small to prove much, or hit as well by programs that reverse digits: palindromes and what ends in 0."""
    return answer < least or (answer > 10 and (answer % 10 == 0 or str(answer) == str(answer)[::-1]))


def _item(family: Family, composition: Composition | None, wording: str, slot: str, answer: str, part: Part) -> Item:
    question = _text(family.wordings[int(wording)], slot, composition)
    problem_id = f"{family.name}-{hashlib.sha256(question.encode()).hexdigest()[:10]}"
    composed = {"composition": composition.name} if composition else {}
    task = "+".join([family.name, *composed.values()])
    facets = {"family": family.name, **composed, "task": task, "wording": wording, "part": part}
    problem = Problem(problem_id, NAME, (composition or family).kind, question)
    return Item(problem, Gold(problem_id, answer), facets)


def data_of(problem: Problem, facets: Mapping[str, str]) -> str:
    """What stands in the slot of the question's wording: `_item` the other way."""
    question = problem.question
    if composed := facets.get("composition"):
        question = question.removesuffix(COMPOSITIONS[composed].wording).removesuffix(" ").removesuffix(".")
    before, after = FAMILIES[facets["family"]].wordings[int(facets["wording"])].split("{}")
    return question.removeprefix(before).removesuffix(after)
