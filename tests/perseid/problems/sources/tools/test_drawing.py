"""The seed problems: what the three splits promise, and that every question can be answered."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
import pytest

from perseid.errors import UserError
from perseid.experiment import load_experiment
from perseid.graders import equivalent
from perseid.problems import Demonstration, Item
from perseid.problems.sources.tools import Pool, Settings, teacher
from perseid.problems.sources.tools.drawing import Tools, composed_pairs, data_of
from perseid.problems.sources.tools.families import COMPOSITIONS, FAMILIES
from perseid.problems.sources.tools.promises import broken
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import Sandbox

SHOWN = ("products", "gcd", "chain_sum")
POOL = Pool(demonstrated=3, undemonstrated=4, composed=2)
SETTINGS = Settings(
    demonstrated=SHOWN,
    undemonstrated=tuple(name for name in FAMILIES if name not in SHOWN),
    demonstrated_compositions=("double",),
    undemonstrated_compositions=tuple(name for name in COMPOSITIONS if name != "double"),
    demonstrations=6,
    demonstrations_composed=3,
    drills=12,
    explorations=4,
    explorations_composed=2,
)


@dataclass(frozen=True)
class P:
    """A question in its place, with its answer and what is known of it."""

    split: str
    round: int
    item: Item

    @property
    def problem_id(self) -> str:
        return self.item.problem.problem_id

    @property
    def question(self) -> str:
        return self.item.problem.question

    @property
    def family(self) -> str:
        return self.item.facets["family"]

    @property
    def composition(self) -> str:
        return self.item.facets.get("composition", "")

    @property
    def wording(self) -> str:
        return self.item.facets["wording"]

    @property
    def part(self) -> str:
        return self.item.facets["part"]

    @property
    def data(self) -> str:
        return data_of(self.item.problem, self.item.facets)


@dataclass(frozen=True)
class Built:
    problems: list[P]
    demonstrations: Sequence[Demonstration]


def build(settings: Settings, seed: int, pools: Sequence[Pool] = ()) -> Built:
    """All that an experiment of so many rounds asks."""
    tools = Tools(settings, seed)
    found = tools.brought()
    problems = [P("held_out", 0, item) for item in found.held_out]
    problems += [P("demonstration", 0, item) for item in found.shown]
    for number, pool in enumerate(pools, 1):
        before = [(p.item.problem, p.item.facets) for p in problems]
        problems += [P("pool", number, item) for item in tools.draw(number, pool, before)]
    return Built(problems, found.demonstrations)


def fresh_instances(p: P, n: int, seed: int, asked: Collection[str]) -> list[P]:
    fresh = Tools(SETTINGS, seed).fresh(p.item.problem, p.item.facets, n, asked)
    return [P("", 0, Item(problem, gold, p.item.facets)) for problem, gold in fresh]


@pytest.fixture(scope="module")
def built() -> Built:
    return build(SETTINGS, seed=3, pools=[POOL] * 2)


def test_the_same_seed_gives_the_same_problems_and_another_seed_others(built: Built) -> None:
    assert build(SETTINGS, seed=3, pools=[POOL] * 2) == built
    assert {p.question for p in build(SETTINGS, seed=4, pools=[POOL] * 2).problems} != {
        p.question for p in built.problems
    }


@pytest.mark.parametrize("name", ["smoke", pytest.param("quickstart", marks=pytest.mark.slow)])
def test_another_process_builds_the_same_problems(name: str) -> None:
    code = (
        "import hashlib; from perseid.experiment import load_experiment; from perseid.problems.making import first;"
        f"e = load_experiment('experiments/{name}.yaml'); built = first(e.problems, 0, e.root);"
        "print(hashlib.sha256(repr(built).encode()).hexdigest())"
    )
    found = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(("name", "questions"), [("quickstart", "0e03f984c0a2e2ae"), ("smoke", "bd088de3b5955a63")])
def test_the_shipped_experiments_ask_the_questions_that_their_numbers_are_of(name: str, questions: str) -> None:
    e = load_experiment(f"experiments/{name}.yaml")
    [settings] = e.problems.train
    assert isinstance(settings, Settings)
    pools = [e.at(number).problems.pool for number in range(1, len(e.rounds) + 1)]
    asked = build(settings, e.seed, [pool for pool in pools if isinstance(pool, Pool)]).problems
    rows = sorted((p.problem_id, p.split, p.round, p.part, p.question) for p in asked)
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == questions


def test_a_longer_experiment_keeps_the_problems_of_its_first_rounds(built: Built) -> None:
    longer = build(SETTINGS, seed=3, pools=[POOL] * 3)
    assert [p for p in longer.problems if p.round < 3] == built.problems


def test_a_pool_drawn_alone_is_the_one_that_is_drawn_after_all_before_it(built: Built) -> None:
    for number in (1, 2):
        before = [(p.item.problem, p.item.facets) for p in built.problems if p.round < number]
        alone = Tools(SETTINGS, 3).draw(number, POOL, before[::-1])
        assert alone == [p.item for p in built.problems if p.round == number]


def test_the_data_of_a_question_is_what_its_wording_was_filled_with(built: Built) -> None:
    filled = [FAMILIES[p.family].wordings[int(p.wording)].format(p.data) for p in built.problems]
    assert [p for p, text in zip(built.problems, filled, strict=True) if not p.question.startswith(text)] == []
    assert all("Then" not in p.data and not p.data.endswith(".") for p in built.problems if p.composition)


def test_what_is_known_of_a_question_is_its_family_wording_part_and_task(built: Built) -> None:
    names = {"family", "task", "wording", "part"}
    assert all(set(p.item.facets) == names | ({"composition"} if p.composition else set()) for p in built.problems)
    assert {p.item.facets["task"] for p in built.problems} >= {"lcm", "lcm+square"}


def test_no_question_and_no_data_stand_in_two_problems(built: Built) -> None:
    assert len({p.question for p in built.problems}) == len(built.problems)
    assert len({p.problem_id for p in built.problems}) == len(built.problems)


def test_every_problem_has_one_answer(built: Built) -> None:
    assert all(p.item.gold.problem_id == p.problem_id and p.item.gold.answer for p in built.problems)


def test_the_solution_that_stands_beside_a_family_answers_all_its_questions(built: Built) -> None:
    wrong = []
    for p in built.problems:
        tools = FAMILIES[p.family].solution + (COMPOSITIONS[p.composition].solution if p.composition else ())
        if not equivalent(str(teacher.run(p.question, tools)), str(p.item.gold.answer)):
            wrong.append((p.question, p.item.gold.answer))
    assert wrong == []


def test_new_wordings_stand_in_the_held_out_set_alone(built: Built) -> None:
    new = {(p.family, p.wording) for p in built.problems if p.part == "new_wording"}
    assert len(new) == len(FAMILIES)
    assert not new & {(p.family, p.wording) for p in built.problems if p.part != "new_wording"}


def test_new_compositions_stand_in_the_held_out_set_alone(built: Built) -> None:
    new = {(p.family, p.composition) for p in built.problems if p.part == "new_composition"}
    assert new == {(family.name, composition.name) for family, composition in composed_pairs(SETTINGS)[1]}
    assert not new & {(p.family, p.composition) for p in built.problems if p.part != "new_composition"}


def test_the_teacher_demonstrates_right_programs_of_its_own_families_alone(built: Built) -> None:
    asked = {p.problem_id: p for p in built.problems}
    shown = [d for d in built.demonstrations if d.kind == "demonstration"]
    assert {asked[d.problem_id].family for d in shown} == set(SHOWN)
    assert {asked[d.problem_id].composition for d in shown} == {"", "double"}


def test_explorations_cover_everything_else_and_run(built: Built) -> None:
    asked = {p.problem_id: p for p in built.problems}
    explored = {asked[d.problem_id].family for d in built.demonstrations if d.kind == "exploration"}
    assert explored >= set(SETTINGS.undemonstrated)
    for d in built.demonstrations:
        if d.kind == "exploration":
            tools = [step.split("= ")[1].split("(")[0] for step in d.steps[:-1]]
            assert teacher.runs(d.question, tools)


def test_fresh_instances_ask_the_same_of_new_data(built: Built) -> None:
    problem = next(p for p in built.problems if (p.family, p.composition) == ("lcm", "square"))
    fresh = fresh_instances(problem, 3, seed=9, asked=[p.question for p in built.problems])
    before, _ = FAMILIES["lcm"].wordings[int(problem.wording)].split("{}")
    assert all(p.question.startswith(before) and p.question.endswith("Then square it.") for p in fresh)
    assert len({p.question for p in fresh} | {problem.question}) == 4


@pytest.mark.parametrize(("family", "most"), [("weekday", 365), ("prime_factorization", 740)])
def test_fresh_instances_of_a_small_family_are_no_questions_of_the_experiment(family: str, most: int) -> None:
    settings = Settings(demonstrated=(), undemonstrated=(family,), explorations=most - 40, drills=0)
    asked = build(settings, seed=0, pools=[])
    left = most - len(asked.problems)
    questions = {p.question for p in asked.problems}
    fresh = fresh_instances(asked.problems[0], left, 7, questions)
    data = {p.data for p in fresh}
    assert len(data) == left
    assert not data & {p.data for p in asked.problems}
    with pytest.raises(UserError, match=rf"fewer questions of {family}: {family} has about {most} distinct questions"):
        fresh_instances(asked.problems[0], left + 1, 7, questions)


def test_more_questions_than_a_family_has_end_with_the_most_there_are() -> None:
    settings = Settings(demonstrated=(), undemonstrated=("weekday",), explorations=1, drills=0)
    with pytest.raises(UserError, match="fewer questions of weekday: weekday has about 365 distinct questions"):
        build(settings, seed=0, pools=[Pool(undemonstrated=352)])


def test_a_program_reads_calls_and_prints() -> None:
    assert teacher.program(("numbers", "gcd")) == (
        "# read the numbers\na = numbers(q)",
        "# take gcd\nb = gcd(a)",
        "# answer\nprint(b)",
    )


@pytest.mark.parametrize(
    ("question", "tools", "answer"),
    [
        ("LCM of 4, 6", ("numbers", "lcm"), 12),
        ("Solve the equation 30*t - 23 = 457", ("equation", "root"), 16),
        ("Legs: 2 sea slugs, 3 dogs, 1 woodlouse", ("animals", "legs", "total"), 26),
        ("Decimal arithmetic: 1.10 - 0.3 + 2", ("expression", "value"), Decimal("2.80")),
        ("Compute the sum 2 + 3 * -4", ("expression", "value"), -10),
        ("Prime factors of 12", ("numbers", "factors", "crosses"), "2 × 2 × 3"),
        ("Between 23:22:50 and 23:59:02", ("times", "span", "clock"), "00:36:12"),
        ("Weekday of October 18, 2022", ("date", "weekday"), "Tuesday"),
        ('Letter "a" in "An apple"?', ("quotes", "occurrences"), 2),
    ],
)
def test_tools_by_hand(question: str, tools: tuple[str, ...], answer: object) -> None:
    assert teacher.run(question, tools) == answer


def test_a_tool_refuses_what_it_is_not_made_for() -> None:
    with pytest.raises(ValueError, match="expected whole numbers"):
        teacher.run("Spell backward: sun", ("word", "gcd"))


def test_a_program_cannot_make_an_answer_of_an_address() -> None:
    with Sandbox(prelude=toolbox_source()) as sandbox:
        for name in ("id", "hash"):
            execution = sandbox.run(f"a = {name}([1])\nprint(a)")
            assert (execution.status, execution.error) == ("error", "ValueError: an address is no data")


def placed(*rows: tuple[str, str, str, str]) -> pl.DataFrame:
    """(split, problem, wording, part) of a family; the question is the problem's name."""
    known = [(0, split, name, name, "gcd", wording, part) for split, name, wording, part in rows]
    return pl.DataFrame(
        known, schema=["round", "split", "problem_id", "question", "family", "wording", "part"], orient="row"
    )


def test_a_promise_that_is_broken_names_the_problem() -> None:
    """No composition in any of them: the column is missing, and nothing is shared by not having one."""
    pool, new = ("pool", "a", "0", "seen"), ("held_out", "b", "1", "new_wording")
    assert broken(placed(pool, new)).is_empty()
    assert broken(placed(pool, ("held_out", "b", "0", "new_wording")))["problem_id"].to_list() == ["b"]
    assert broken(placed(pool, new, ("pool", "a", "2", "seen")))["problem_id"].unique().to_list() == ["a"]
    assert broken(placed(pool, ("held_out", "c", "0", "new_composition")))["problem_id"].to_list() == ["c"]
