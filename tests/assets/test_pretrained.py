"""`pretrained`: round 0 of a model that there is already is a pointer, and no row trained it."""

from typing import Any

from assets import pretrained
from assets.graph import unroll
from assets.work import Plan, Work
from perseid.artifacts import Store
from perseid.experiment import Experiment
from tests.assets.conftest import EXPERIMENT, FakeMachines, FakeTrainer


def of_a_pretrained_base() -> Experiment:
    policy = {"base": "pretrained", "from": "a/b", "lora": {"rank": 4}}
    return Experiment.model_validate({**EXPERIMENT.model_dump(), "models": {"policy": policy}})


def test_it_is_pointed_to_and_nothing_trains_it(store: Store) -> None:
    e = of_a_pretrained_base()
    graph, trainer = unroll(e), FakeTrainer()
    node = graph["x/round_00/policy"]
    machines: Any = FakeMachines(trainer)
    tracked: Any = None
    with store.draft(node.key) as draft:
        made = pretrained.make(Work(Plan(e, graph, node), None, store, machines, draft, tracked, print, {}))
        manifest = draft.publish(node.code_version, {})
    [(kind, base, out, attempt)] = trainer.asked
    assert (kind, base, out.name) == ("point", e.models.policy, "model")
    assert (attempt.artifact, attempt.section) == ("x/round_00/policy", "models.policy")
    assert dict(manifest.row_counts) == {"examples": 0, "training": 0}
    assert made.metrics == {"examples": 0}
    assert [path.name for path in store.folder(manifest).iterdir()] == ["base.json"]


def test_it_reads_no_problems_and_stands_where_the_other_base_would() -> None:
    node = unroll(of_a_pretrained_base())["x/round_00/policy"]
    assert (node.does, node.inputs) == ("pretrained", ())
