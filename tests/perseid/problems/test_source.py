"""The seed problems: what the three splits promise, and that every question can be answered."""

import hashlib
import os
import subprocess
import sys
from decimal import Decimal

import pytest

from perseid.errors import UserError
from perseid.experiment import Pool, Problems, load_experiment
from perseid.graders import equivalent
from perseid.problems import (
    Problem,
    ProblemSet,
    build,
    composed_pairs,
    draw_pool,
    fresh_instances,
    teacher,
    toolbox_source,
)
from perseid.problems.families import COMPOSITIONS, FAMILIES
from perseid.problems.source import data_of
from perseid.sandbox import Sandbox

SHOWN = ("products", "gcd", "chain_sum")
POOL = Pool(demonstrated=3, undemonstrated=4, composed=2)
SETTINGS = Problems(
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


@pytest.fixture(scope="module")
def built() -> ProblemSet:
    return build(SETTINGS, seed=3, pools=[POOL] * 2)


def test_the_same_seed_gives_the_same_problems_and_another_seed_others(built: ProblemSet) -> None:
    assert build(SETTINGS, seed=3, pools=[POOL] * 2) == built
    assert {p.question for p in build(SETTINGS, seed=4, pools=[POOL] * 2).problems} != {
        p.question for p in built.problems
    }


@pytest.mark.parametrize("name", ["smoke", pytest.param("quickstart", marks=pytest.mark.slow)])
def test_another_process_builds_the_same_problems(name: str) -> None:
    code = (
        "import hashlib; from perseid.experiment import Pool, load_experiment; from perseid.problems import build;"
        f"e = load_experiment('experiments/{name}.yaml'); built = build(e.problems, 0, [Pool()]);"
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
    asked = build(e.problems, e.seed, [e.at(number).problems.pool for number in range(1, len(e.rounds) + 1)]).problems
    rows = sorted((p.problem_id, p.split, p.round, p.part, p.question) for p in asked)
    assert hashlib.sha256(repr(rows).encode()).hexdigest()[:16] == questions


def test_a_longer_experiment_keeps_the_problems_of_its_first_rounds(built: ProblemSet) -> None:
    longer = build(SETTINGS, seed=3, pools=[POOL] * 3)
    assert [p for p in longer.problems if p.round < 3] == built.problems


def test_a_pool_drawn_alone_is_the_one_that_is_drawn_with_all_before_it(built: ProblemSet) -> None:
    settings = SETTINGS.model_copy(update={"pool": POOL})
    for number in (1, 2):
        alone = draw_pool(settings, 3, number, [p for p in built.problems if p.round < number])
        assert alone.problems == [p for p in built.problems if p.round == number]
        assert alone.gold == [g for g in built.gold if g.problem_id in {p.problem_id for p in alone.problems}]
        assert alone.demonstrations == []


def test_the_data_of_a_question_is_what_its_wording_was_filled_with(built: ProblemSet) -> None:
    filled = [FAMILIES[p.family].wordings[int(p.wording)].format(data_of(p)) for p in built.problems]
    assert [p.question for p in built.problems if not p.question.startswith(filled[built.problems.index(p)])] == []
    assert all("Then" not in data_of(p) and not data_of(p).endswith(".") for p in built.problems if p.composition)


def test_no_question_and_no_data_stand_in_two_problems(built: ProblemSet) -> None:
    assert len({p.question for p in built.problems}) == len(built.problems)
    assert len({p.problem_id for p in built.problems}) == len(built.problems)


def test_every_problem_has_one_answer(built: ProblemSet) -> None:
    assert sorted(g.problem_id for g in built.gold) == sorted(p.problem_id for p in built.problems)


def test_the_solution_that_stands_beside_a_family_answers_all_its_questions(built: ProblemSet) -> None:
    gold = {g.problem_id: g.answer for g in built.gold}
    wrong = []
    for p in built.problems:
        tools = FAMILIES[p.family].solution + (COMPOSITIONS[p.composition].solution if p.composition else ())
        if not equivalent(str(teacher.run(p.question, tools)), gold[p.problem_id]):
            wrong.append((p.question, gold[p.problem_id]))
    assert wrong == []


def test_new_wordings_stand_in_the_held_out_set_alone(built: ProblemSet) -> None:
    new = {(p.family, p.wording) for p in built.problems if p.part == "new_wording"}
    assert len(new) == len(FAMILIES)
    assert not new & {(p.family, p.wording) for p in built.problems if p.part != "new_wording"}


def test_new_compositions_stand_in_the_held_out_set_alone(built: ProblemSet) -> None:
    new = {(p.family, p.composition) for p in built.problems if p.part == "new_composition"}
    assert new == {(family.name, composition.name) for family, composition in composed_pairs(SETTINGS)[1]}
    assert not new & {(p.family, p.composition) for p in built.problems if p.part != "new_composition"}


def test_the_teacher_demonstrates_right_programs_of_its_own_families_alone(built: ProblemSet) -> None:
    asked = {p.problem_id: p for p in built.problems}
    shown = [d for d in built.demonstrations if d.kind == "demonstration"]
    assert {asked[d.problem_id].family for d in shown} == set(SHOWN)
    assert {asked[d.problem_id].composition for d in shown} == {"", "double"}


def test_explorations_cover_everything_else_and_run(built: ProblemSet) -> None:
    asked = {p.problem_id: p for p in built.problems}
    explored = {asked[d.problem_id].family for d in built.demonstrations if d.kind == "exploration"}
    assert explored >= set(SETTINGS.undemonstrated)
    for d in built.demonstrations:
        if d.kind == "exploration":
            tools = [step.split("= ")[1].split("(")[0] for step in d.steps[:-1]]
            assert teacher.runs(d.question, tools)


def test_fresh_instances_ask_the_same_of_new_data(built: ProblemSet) -> None:
    problem = next(p for p in built.problems if (p.family, p.composition) == ("lcm", "square"))
    fresh = fresh_instances(problem, 3, seed=9, asked=[p.question for p in built.problems])
    assert [(p.family, p.composition, p.wording) for p, _ in fresh] == [
        (problem.family, problem.composition, problem.wording)
    ] * 3
    assert len({p.question for p, _ in fresh} | {problem.question}) == 4


@pytest.mark.parametrize(("family", "most"), [("weekday", 365), ("prime_factorization", 740)])
def test_fresh_instances_of_a_small_family_are_no_questions_of_the_experiment(family: str, most: int) -> None:
    settings = Problems(demonstrated=(), undemonstrated=(family,), explorations=most - 40, drills=0)
    asked = build(settings, seed=0, pools=[])
    left = most - len(asked.problems)
    questions = {p.question for p in asked.problems}
    fresh = fresh_instances(asked.problems[0], left, 7, questions)
    data = {slot_of(p) for p, _ in fresh}
    assert len(data) == left
    assert not data & {slot_of(p) for p in asked.problems}
    with pytest.raises(UserError, match=rf"fewer questions of {family}: {family} has about {most} distinct questions"):
        fresh_instances(asked.problems[0], left + 1, 7, questions)


def slot_of(problem: Problem) -> str:
    before, after = FAMILIES[problem.family].wordings[int(problem.wording)].split("{}")
    return problem.question.removeprefix(before).removesuffix(after)


def test_more_questions_than_a_family_has_end_with_the_most_there_are() -> None:
    settings = Problems(demonstrated=(), undemonstrated=("weekday",), explorations=1, drills=0)
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
