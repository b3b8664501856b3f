"""Questions drawn from `reasoning-gym`, disjoint by what they ask, in wordings and compositions kept apart.

Three splits: `demonstration` (what the teacher works on), `pool` (fresh questions for the search of each round) and
`held_out` (evaluation). No two questions share family and data, across all splits. Of the held-out questions some use a
wording, others a (family, composition) pair, that stands in neither of the other splits.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from dataclasses import dataclass

from perseid.errors import UserError
from perseid.problems.families import COMPOSITIONS, FAMILIES, Composition, Family, Item
from perseid.problems.problem import Gold, Part, Problem, Split
from perseid.problems.settings import Pool, Problems
from perseid.problems.teacher import FUNCTIONS, READERS, Demonstration, Kind, program, random_program

VERSION = "1"  # raised by hand when the same settings and families come to draw other questions, or teach other texts
HELD_OUT_COMPOSITIONS = 4  # one (family, composition) pair in so many is asked in the held-out split alone
PATIENCE = 30_000  # draws in a row of what was drawn already, after which a family has no more questions


@dataclass(frozen=True)
class ProblemSet:
    """Questions, their answers apart, and the teacher's texts."""

    problems: list[Problem]
    gold: list[Gold]
    demonstrations: list[Demonstration]


@dataclass(frozen=True)
class Draw:
    """What to draw: from which split and round, in which wordings."""

    split: Split
    round: int = 0
    part: Part = "seen"
    new_wording: bool = False


def build(settings: Problems, seed: int, pools: Sequence[Pool] = ()) -> ProblemSet:
    """The demonstrations, the held-out set and a pool for each of `pools`; the same arguments give the same set.

    Raises `UserError` for more questions than a family has.
    """
    builder = _Builder(settings, seed)
    builder.build()
    for number, pool in enumerate(pools, 1):
        builder.pool(number, pool)
    return builder.set


def draw_pool(settings: Problems, seed: int, number: int, before: Sequence[Problem]) -> ProblemSet:
    """The pool of round `number`, of the sizes in `settings.pool`; what is asked in `before` is not asked again.

    With the problems and the pools of all rounds before, it is the pool that `build` draws: a stream is drawn from in
    order, and all that was taken of it stands in `before`.
    """
    builder = _Builder(settings, seed)
    builder.seen = {(problem.family, data_of(problem)) for problem in before}
    builder.pool(number, settings.pool)
    return builder.set


def fresh_instances(problem: Problem, n: int, seed: int, asked: Collection[str]) -> list[tuple[Problem, Gold]]:
    """`n` distinct new questions that ask the same of new data, to re-run a program on.

    Args:
        asked: the questions of the experiment: of none is the data taken again, in whatever wording it stood.

    Raises `UserError` with the most there are, where the family has not that many more.
    """
    family, composition = FAMILIES[problem.family], COMPOSITIONS.get(problem.composition)
    known = asked if isinstance(asked, Set) else frozenset(asked)
    stream = _Stream(family, composition, seed_of(seed, "fresh", problem.problem_id))
    found: dict[str, str] = {}
    while len(found) < n:
        slot, answer = stream.new(lambda slot: slot not in found and known.isdisjoint(_texts(family, slot)))
        found[slot] = answer
    what = Draw(problem.split)
    return [_problem(family, composition, problem.wording, slot, answer, what) for slot, answer in found.items()]


def composed_pairs(
    settings: Problems,
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


def _demonstrates(settings: Problems, family: Family, composition: Composition | None) -> bool:
    known = composition is None or composition.name in settings.demonstrated_compositions
    return known and family.name in settings.demonstrated


def seed_of(*parts: object) -> int:
    """A 64-bit seed from what it is for: sha256 of the parts, joined."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


class _Builder:
    """Draws questions from one stream a (family, composition), so that no two splits share one."""

    def __init__(self, settings: Problems, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.families = [FAMILIES[name] for name in (*settings.demonstrated, *settings.undemonstrated)]
        self.streams: dict[tuple[str, str], _Stream] = {}
        self.set = ProblemSet([], [], [])
        self.seen: set[tuple[str, str]] = set()

    def build(self) -> None:
        size = self.settings
        trained, apart = composed_pairs(size)
        for family in self.families:
            self.teach(family, None, size.demonstrations, size.explorations)
            self.draw(family, None, size.held_out, Draw("held_out"))
            self.draw(family, None, size.held_out_wordings, Draw("held_out", part="new_wording", new_wording=True))
        for family, composition in trained:
            self.teach(family, composition, size.demonstrations_composed, size.explorations_composed)
            self.draw(family, composition, size.held_out_composed, Draw("held_out"))
        for family, composition in apart:
            self.draw(family, composition, size.held_out_compositions, Draw("held_out", part="new_composition"))
        self.drill(self.families)

    def pool(self, number: int, size: Pool) -> None:
        for family in self.families:
            asked = size.demonstrated if family.name in self.settings.demonstrated else size.undemonstrated
            self.draw(family, None, asked, Draw("pool", number))
        for family, composition in composed_pairs(self.settings)[0]:
            self.draw(family, composition, size.composed, Draw("pool", number))

    def draw(self, family: Family, composition: Composition | None, n: int, what: Draw) -> list[Problem]:
        """`n` new problems, their wordings in turn."""
        key = (family.name, composition.name if composition else "")
        stream = self.streams.setdefault(key, _Stream(family, composition, seed_of(self.seed, *key)))
        wordings = family.wordings[-1:] if what.new_wording else family.wordings[:-1]
        drawn = []
        for wording in itertools.islice(itertools.cycle(wordings), n):
            slot, answer = stream.new(lambda slot: (family.name, slot) not in self.seen)
            self.seen.add((family.name, slot))
            problem, gold = _problem(family, composition, str(family.wordings.index(wording)), slot, answer, what)
            drawn.append(problem)
            self.set.gold.append(gold)
        self.set.problems.extend(drawn)
        return drawn

    def teach(self, family: Family, composition: Composition | None, solved: int, explored: int) -> None:
        """Demonstrations where the teacher knows the way, random programs that merely run elsewhere."""
        if _demonstrates(self.settings, family, composition):
            tools = family.solution + (composition.solution if composition else ())
            for problem in self.draw(family, composition, solved, Draw("demonstration")):
                self.show("demonstration", problem.problem_id, problem.question, tools)
            return
        rng = random.Random(seed_of(self.seed, "explore", family.name, composition.name if composition else ""))
        for problem in self.draw(family, composition, explored, Draw("demonstration")):
            calls = rng.choice((1, 1, 2, 2, 3)) + (composition is not None)
            self.show("exploration", problem.problem_id, problem.question, random_program(problem.question, rng, calls))

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
        self.set.demonstrations.append(Demonstration(example_id, kind, problem_id, question, program(tools)))


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


def _question(family: Family, composition: Composition | None, item: Item) -> tuple[str, str] | None:
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


def _problem(
    family: Family, composition: Composition | None, wording: str, slot: str, answer: str, what: Draw
) -> tuple[Problem, Gold]:
    question = _text(family.wordings[int(wording)], slot, composition)
    problem_id = f"{family.name}-{hashlib.sha256(question.encode()).hexdigest()[:10]}"
    name = composition.name if composition else ""
    problem = Problem(problem_id, what.split, what.round, family.name, name, wording, what.part, question)
    return problem, Gold(problem_id, answer, (composition or family).kind)


def data_of(problem: Problem) -> str:
    """What stands in the slot of the question's wording: `_problem` the other way."""
    question = problem.question
    if problem.composition:
        question = question.removesuffix(COMPOSITIONS[problem.composition].wording).removesuffix(" ").removesuffix(".")
    before, after = FAMILIES[problem.family].wordings[int(problem.wording)].split("{}")
    return question.removeprefix(before).removesuffix(after)
