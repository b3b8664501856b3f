"""Asset checks on a real store: what they let pass, and the rows they show when they do not."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.checks import disjoint_check, soundness_check, table_failures, tables_check
from assets.graph import unroll
from assets.problems import frames_of
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment
from perseid.problems import Gold, Item, Problem
from perseid.tables import frame

TOOLS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": TOOLS,
        "rounds": [{}],
    }
)
GRAPH = unroll(EXPERIMENT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


Asked = tuple[str, Item]


def problem(problem_id: str, split: str, question: str, **about: str) -> Asked:
    facets = {"family": "gcd", "wording": "0", "part": "seen", **about}
    return split, Item(Problem(problem_id, "tools", "number", question), Gold(problem_id, "1"), facets)


def publish(store: Store, key: str, frames: dict[str, pl.DataFrame]) -> Manifest:
    with store.draft(key) as draft:
        for name, frame in frames.items():
            draft.table(name, frame)
        return draft.publish("code", {})


def publish_problems(store: Store, rows: list[Asked]) -> Manifest:
    splits = {split for split, _ in rows}
    tables = frames_of({split: [item for where, item in rows if where == split] for split in splits})
    return publish(store, "x/problems", {**tables, "demonstrations": frame("demonstrations", [])})


def evaluate(check: dg.AssetChecksDefinition, store: Store) -> dg.AssetCheckEvaluation:
    key = next(iter(check.check_keys)).asset_key
    stand_in = dg.AssetSpec(key)
    with dg.instance_for_test() as instance:
        defs = dg.Definitions(assets=[stand_in], asset_checks=[check], resources={"store": store})
        done = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)
        return done.get_asset_check_evaluations()[0]


def test_disjoint_splits_pass(store: Store) -> None:
    publish_problems(store, [problem("a", "pool", "gcd of 2 and 4?"), problem("b", "held_out", "gcd of 3 and 9?")])
    assert evaluate(disjoint_check(EXPERIMENT, GRAPH["x/problems"]), store).passed


def test_a_held_out_question_in_a_pool_is_shown(store: Store) -> None:
    publish_problems(store, [problem("a", "pool", "gcd of 2 and 4?"), problem("b", "held_out", "gcd of 2 and 4?")])
    found = evaluate(disjoint_check(EXPERIMENT, GRAPH["x/problems"]), store)
    assert not found.passed
    assert found.blocking
    rows = [record.data for record in found.metadata["failure cases"].records]
    assert [(row["question"], row["splits"]) for row in rows if row["splits"]] == [
        ("gcd of 2 and 4?", "held_out, pool of round 0")
    ]


def test_a_new_wording_that_training_sees_is_shown(store: Store) -> None:
    asked = problem("b", "held_out", "gcd of 3 and 9?", part="new_wording")
    publish_problems(store, [problem("a", "pool", "gcd of 2 and 4?"), asked])
    found = evaluate(disjoint_check(EXPERIMENT, GRAPH["x/problems"]), store)
    assert [record.data["problem_id"] for record in found.metadata["failure cases"].records] == ["b"]


def test_a_question_that_two_rounds_ask_breaks_the_toy_s_promise_alone(store: Store) -> None:
    twice = [problem("a", "pool", "gcd of 2 and 4?"), problem("b", "held_out", "gcd of 3 and 9?")]
    publish_problems(store, twice)
    again = frames_of({"pool": [twice[0][1]]}, 1)
    publish(store, "x/round_01/pool", again)
    found = evaluate(disjoint_check(EXPERIMENT, GRAPH["x/round_01/pool"]), store)
    assert [record.data["problem_id"] for record in found.metadata["failure cases"].records] == ["a"]


def test_tables_as_published_pass_their_check(store: Store) -> None:
    manifest = publish_problems(store, [problem("a", "pool", "gcd of 2 and 4?")])
    assert table_failures(manifest, store) == []
    assert evaluate(tables_check(GRAPH["x/problems"]), store).passed


def test_a_file_cut_short_is_a_failure_that_names_it(store: Store) -> None:
    manifest = publish_problems(store, [problem("a", "pool", "gcd of 2 and 4?")])
    path = store.place("x/problems") / manifest.version / "gold.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    found = evaluate(tables_check(GRAPH["x/problems"]), store)
    assert not found.passed
    assert str(path) in str(found.metadata["failure cases"].records[0].data["failure"])


@pytest.mark.parametrize(("wrong", "passed"), [(0, True), (2, True), (3, False)])
def test_soundness_warns_from_three_in_a_hundred(store: Store, wrong: int, passed: bool) -> None:
    rows = [(f"{n:016x}", 5, 4 if n < wrong else 5, 0) for n in range(100)]
    soundness = pl.DataFrame(rows, schema=["trajectory_id", "fresh", "right", "untold"], orient="row")
    publish(store, "x/round_01/evaluation", {"soundness": soundness})
    found = evaluate(soundness_check(GRAPH["x/round_01/evaluation"]), store)
    assert (found.passed, found.blocking) == (passed, False)
