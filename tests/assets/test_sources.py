"""An experiment on a file of problems: what is made of it, and of which content its versions are."""
# ruff: noqa: E501  (a mistake is a line)

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assets.freshness import survey
from assets.graph import Graph, maker, unroll
from assets.work import Made, Plan, Work, present_inputs
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment

FILE = """
name: x
problems:
  train:
    - source: jsonl
      path: data/train.jsonl
      kind: number
      columns: {gold: answer, facets: [level]}
      gold_after: "####"
  held_out: {problems: 10}
  pool: {problems: 20}
models: {policy: {base: pretrained, from: a/b}}
rounds: [{}, {pool: {problems: 30}}]
"""
ROWS = [{"question": f"{n} + {n}?", "answer": f"so #### {2 * n}", "level": str(n % 4)} for n in range(1, 61)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project's root: its experiments and its data."""
    for folder in ("experiments", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "experiments/x.yaml").write_text(FILE)
    write_rows(tmp_path, ROWS)
    return tmp_path


def write_rows(project: Path, rows: list[dict[str, Any]]) -> None:
    (project / "data/train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def loaded(project: Path, **changes: str) -> tuple[Experiment, Graph]:
    text = FILE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    (project / "experiments/x.yaml").write_text(text)
    experiment = load_experiment(project / "experiments/x.yaml")
    return experiment, unroll(experiment)


def made(store: Store, experiment: Experiment, graph: Graph, key: str) -> tuple[Made, Manifest]:
    """As the factory does it."""
    plan, nobody = Plan(experiment, graph, graph[key]), Any
    inputs = present_inputs(plan, store)
    with store.draft(key) as draft:
        work = Work(plan, None, store, nobody, draft, nobody, lambda report: None, inputs)  # type: ignore[arg-type]
        found = maker(plan.node.does).make(work)
        return found, draft.publish(plan.node.code_version, {name: m.version for name, m in inputs.items()})


def versions(graph: Graph) -> Mapping[str, str]:
    return {key: node.code_version for key, node in graph.items()}


def changed(one: Graph, other: Graph) -> set[str]:
    before, after = versions(one), versions(other)
    return {key.rpartition("/")[2] for key in before if before[key] != after[key]}


def test_a_file_becomes_a_held_out_set_and_a_pool_a_round_that_share_no_question(project: Path) -> None:
    store, (e, graph) = Store(project / "root"), loaded(project)
    told, manifest = made(store, e, graph, "x/problems")
    assert told.metrics == {"problems": 10, "rows of train": 60.0, "rows left out": 0}
    held_out = set(store.read(manifest, "problems")["question"])
    assert set(store.read(manifest, "facets")["name"]) == {"level"}
    gold = dict(store.read(manifest, "gold").iter_rows())
    assert all(json.loads(answer).isdigit() for answer in gold.values())
    _, first = made(store, e, graph, "x/round_01/pool")
    second_told, second = made(store, e, graph, "x/round_02/pool")
    pools = [set(store.read(found, "problems")["question"]) for found in (first, second)]
    assert [len(questions) for questions in pools] == [20, 30]
    assert not held_out & (pools[0] | pools[1])
    assert not pools[0] & pools[1]
    assert second_told.metrics == {"problems": 30, "problems searched before": 0}
    assert set(store.read(second, "pools").rows()) == {
        (2, "pool", name) for name in store.read(second, "problems")["problem_id"]
    }


def test_rounds_ask_again_once_everything_was_searched(project: Path) -> None:
    store, (e, graph) = Store(project / "root"), loaded(project, **{"{problems: 30}": "{problems: 45}"})
    for key in ("x/problems", "x/round_01/pool"):
        made(store, e, graph, key)
    told, _ = made(store, e, graph, "x/round_02/pool")
    assert told.metrics == {"problems": 45, "problems searched before": 15}


def test_a_moved_file_is_the_same_and_changed_content_makes_what_is_drawn_of_it_stale(project: Path) -> None:
    _, before = loaded(project)
    (project / "data/train.jsonl").rename(project / "data/other.jsonl")
    _, moved = loaded(project, **{"data/train.jsonl": "data/o*.jsonl"})
    assert changed(before, moved) == set()
    (project / "data/other.jsonl").rename(project / "data/train.jsonl")
    write_rows(project, ROWS[::-1])
    assert changed(before, loaded(project)[1]) == {"problems", "pool"}


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("kind: number", "kind: math", {"problems", "pool", "trajectories", "verified", "evaluation"}),
        ('gold_after: "####"', 'gold_after: "so"', {"problems", "pool"}),
        ('gold_after: "####"', 'gold_after: "####"\n      on_bad_row: drop', {"problems", "pool"}),
        ("facets: [level]", "facets: {hardness: level}", {"problems", "pool"}),
        ("{problems: 10}", "{problems: 11}", {"problems", "pool"}),
        ("{problems: 10}", "{problems: 10, seed: 1}", {"problems", "pool"}),
        ("{problems: 20}", "{problems: 21}", {"pool"}),
        ("{problems: 20}", "{problems: 20, again: true}", set()),
        ("data/train.jsonl", "./data/../data/train.jsonl", set()),
    ],
)
def test_what_a_source_says_makes_stale_what_rests_on_it(project: Path, old: str, new: str, stale: set[str]) -> None:
    before = loaded(project)[1]
    assert changed(before, loaded(project, **{old: new})[1]) == stale


def test_a_file_that_changes_after_the_plan_is_no_base_for_what_is_planned(project: Path) -> None:
    store, (e, graph) = Store(project / "root"), loaded(project)
    write_rows(project, ROWS[:-1])
    with pytest.raises(UserError, match="x/problems: problems: a file of problems changed meanwhile; run the same"):
        made(store, e, graph, "x/problems")
    e, graph = loaded(project)
    made(store, e, graph, "x/problems")
    write_rows(project, ROWS)
    with pytest.raises(UserError, match="x/round_01/pool: problems: a file of problems changed meanwhile"):
        made(store, e, graph, "x/round_01/pool")
    assert survey(loaded(project)[1], store)["x/problems"] is None


def test_bad_rows_stop_what_is_made_or_are_counted_and_listed(project: Path) -> None:
    write_rows(project, [*ROWS, {"question": "?", "answer": "none"}, ROWS[0]])
    store, (e, graph) = Store(project / "root"), loaded(project)
    with pytest.raises(UserError, match=r"data/train\.jsonl: line 61: expected '####' in the gold of column answer"):
        made(store, e, graph, "x/problems")
    e, graph = loaded(project, **{"kind: number": "kind: number\n      on_bad_row: drop"})
    told, manifest = made(store, e, graph, "x/problems")
    assert told.metrics["rows left out"] == 2
    assert store.read(manifest, "skipped").select("side", "row", "file", "line").rows() == [
        ("train", 60, "train.jsonl", 61),
        ("train", 61, "train.jsonl", 62),
    ]
    made(store, e, graph, "x/round_01/pool")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("data/train", "data/trian", "problems.train.1.path: "),
        ("gold: answer", "gold: anwser", "problems.train.1.columns.gold: expected one of the columns question, answer, level"),
        ("kind: number", "kind: nmber", "problems.train.1.kind: 'nmber' is not known (did you mean number?)"),
        ("{base: pretrained, from: a/b}", "{}", "problems.train: expected a source that demonstrates (tools): the base is made from nothing"),
        ("{problems: 30}", "{demonstrated: 3}", "rounds.2.pool.demonstrated: there is no such key; expected one of problems"),
        ("{problems: 20}", "{problems: 0}", "problems.pool.problems: expected a whole number in [1, 100000000], found 0"),
        ("rounds:", "shards: 21\nrounds:", "shards: expected at most 20, the questions of round 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_before_anything_is_made(project: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UserError) as caught:
        loaded(project, **{old: new})
    assert str(caught.value).startswith(f"{project}/experiments/x.yaml: {told}")
    assert str(caught.value).isprintable()


def test_relative_paths_start_where_experiments_lies(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert loaded(project)[0].root == project
    assert Experiment.model_validate(loaded(project)[0].model_dump()).root == Path.cwd()


def test_golds_that_their_grader_cannot_read_are_counted_and_said(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_rows(project, [{**row, "answer": "#### many"} if n % 5 == 0 else row for n, row in enumerate(ROWS)])
    store, (e, graph) = Store(project / "root"), loaded(project)
    told, _ = made(store, e, graph, "x/problems")
    bad = told.metrics["golds that cannot be read"]
    assert 0 < bad < 10
    said = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"x/problems: {bad} of 10 golds of the kind number cannot be read: ")
    assert said[0].endswith(
        "expected a number, an integer, a decimal or a fraction. Of answers to these nothing can be told"
    )


def test_golds_of_another_kind_altogether_are_refused(project: Path) -> None:
    store, (e, graph) = Store(project / "root"), loaded(project, **{"kind: number": "kind: boolean"})
    with pytest.raises(
        UserError, match=r"x/problems: kind: 10 of 10 golds of the kind boolean cannot be read: .*expected yes"
    ):
        made(store, e, graph, "x/problems")


def test_a_grader_of_the_user_s_own_is_one_of_the_kinds_and_its_content_a_part_of_versions(project: Path) -> None:
    grader = project / "experiments/near.py"
    own = {"kind: number": "kind: near", "rounds:": "graders: {near: {python: experiments/near.py}}\nrounds:"}
    grader.write_text("def grade(question, gold, answers):\n    return [1.0 for answer in answers]\n")
    e, before = loaded(project, **own)
    told, _ = made(Store(project / "root"), e, before, "x/problems")
    assert told.metrics["problems"] == 10
    assert "golds that cannot be read" not in told.metrics
    grader.write_text("def grade(question, gold, answers):\n    return [0.0 for answer in answers]\n")
    assert changed(before, loaded(project, **own)[1]) == {"trajectories", "verified", "evaluation"}
