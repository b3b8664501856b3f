"""What the summary says: only what is fresh, with what is stale counted."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from assets.freshness import input_versions, units
from assets.graph import unroll
from orchestration.report import shortfall, status, table_of
from perseid import gate
from perseid.artifacts import Store
from perseid.experiment import Experiment
from perseid.gate import Case, Decision, Holder

TOOLS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
METRICS = {"arm": "policy", "metric": "greedy_pass@1", "facet": "all", "part": "all", "low": 0.0, "high": 1.0, "n": 40}


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "x",
            "problems": TOOLS,
            "rounds": [{}, {}],
            **changes,
        }
    )


def publish(store: Store, e: Experiment, share: float, last: int = 2) -> None:
    """Everything up to round `last`; each evaluation says that `share` is right."""
    graph = unroll(e)
    for unit in units(graph):
        if (unit.node.round or 0) > last:
            continue
        with store.draft(unit.key) as draft:
            draft.path("content").write_text(f"{unit.key} {unit.node.code_version}")
            if unit.node.stage == "evaluation":
                columns = ("arm", "metric", "facet", "part", "value", "low", "high", "n")
                draft.table("metrics", pl.DataFrame([{**METRICS, "value": share}]).select(columns))
            inputs = input_versions(graph, unit.node, store)
            assert inputs is not None
            draft.publish(unit.node.code_version, inputs)


def promote(store: Store, number: int) -> Holder:
    made = store.current(f"x/round_{number:02d}/policy")
    assert made is not None
    policy = Holder(key=made.key, version=made.version)
    evaluation = store.current(f"x/round_{number:02d}/evaluation")
    assert evaluation is not None
    case = Case(candidate=policy, evaluation=evaluation.version)
    gate.apply(store, "x", case, Decision(verdict="promote", reason="better"))
    return policy


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def printed(e: Experiment, store: Store) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table_of(e, store))
    return console.export_text()


def test_a_finished_experiment_is_told_in_full(store: Store) -> None:
    publish(store, experiment(), 0.75)
    champion = promote(store, 2)
    found = status(experiment(), store)
    assert [r["metrics"]["greedy_pass@1"]["value"] for r in found["rounds"]] == [0.75] * 3
    assert found["champion"] == champion.key
    assert "stale" not in printed(experiment(), store)
    assert f"Champion: {champion.key} ({champion.version}): better" in printed(experiment(), store)


def test_the_verdict_on_an_evaluation_that_is_stale_is_not_told(store: Store) -> None:
    publish(store, experiment(), 0.75)
    champion = promote(store, 2)
    changed = experiment(evaluation={"max_tokens": 8})
    publish(store, changed, 0.25, last=1)
    told = printed(changed, store)
    assert f"Champion: {champion.key} ({champion.version}): its verdict is of another evaluation" in told
    gate.promote(store, "x", "x/round_01/policy", reason="we like it")
    gate.promote(store, "x", champion.key, reason="we like it more")
    assert f"Champion: {champion.key} ({champion.version}): we like it more" in printed(changed, store)


def test_rounds_of_another_configuration_are_counted_as_stale_and_not_shown(store: Store) -> None:
    """After a change only the first round was made again."""
    publish(store, experiment(), 0.75)
    promote(store, 2)
    changed = experiment(training={"policy": {"steps": 7}})
    publish(store, changed, 0.25, last=1)
    found = status(changed, store)
    assert [r["metrics"].get("greedy_pass@1", {}).get("value") for r in found["rounds"]] == [0.25, 0.25, None]
    assert found["champion"] is None
    text = printed(changed, store)
    assert "75.0" not in text
    assert "stale" in text
    assert "No champion of this configuration yet: x/round_02/policy" in text


def test_what_is_stale_counts_neither_as_tokens_nor_as_seconds(store: Store) -> None:
    publish(store, experiment(), 0.75)
    changed = experiment(seed=1)
    assert [(r["metrics"], r["tokens"], r["seconds"]) for r in status(changed, store)["rounds"]] == [({}, 0, 0)] * 3


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
