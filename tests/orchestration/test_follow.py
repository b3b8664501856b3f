"""What follows a publication is caught up, on a real Dagster instance and a real store; artifacts are not computed."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets.freshness import units
from assets.graph import Graph, unroll
from assets.journals import journals
from assets.tracking import Account
from orchestration import follow
from orchestration.follow import catch_up
from orchestration.instance import open_instance
from orchestration.places import Places
from perseid.artifacts import Store
from perseid.experiment import Experiment

EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "shards": 2,
        "rounds": [{}],
    }
)
GRAPH = unroll(EXPERIMENT)
STAGES = ("problems", "pool", "policy", "trajectories")


class Silent:
    """Tracking that takes every account."""

    def agree(self, account: Account) -> None:
        assert account.experiment == "x"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places.of(tmp_path)
    places.prepare()
    return places


def publish(places: Places, graph: Graph, content: str = "") -> dict[str, str]:
    """The versions of what was published: everything up to the shards of the first round."""
    store, made = Store(places.root), {}
    for unit in list(units(graph)):
        if unit.node.stage in STAGES and unit.key != "x/round_01/policy":
            inputs = {key: made[key] for node in unit.node.inputs for key in graph[node].artifacts}
            with store.draft(unit.key) as draft:
                draft.path("content").write_text(f"{unit.key} {content}")
                made[unit.key] = draft.publish(unit.node.code_version, inputs).version
    return made


def opened(instance: dg.DagsterInstance) -> Callable[[], dg.DagsterInstance]:
    return lambda: instance


def known(instance: dg.DagsterInstance) -> dict[str, str | None]:
    return {unit.key: found for unit in units(GRAPH) if (found := follow.known(instance, unit)) is not None}


def never() -> dg.DagsterInstance:
    raise AssertionError("Dagster knows everything")


def test_dagster_is_told_of_every_current_version_once(places: Places) -> None:
    versions = publish(places, GRAPH)
    assert len(versions) == 5
    with open_instance(places) as instance:
        catch_up(EXPERIMENT, places, Silent(), opened(instance))
        assert known(instance) == versions
        catch_up(EXPERIMENT, places, Silent(), never)
        changed = publish(places, GRAPH, "changed")
        catch_up(EXPERIMENT, places, Silent(), opened(instance))
        assert known(instance) == changed
        follow.forget(places, "x")
        catch_up(EXPERIMENT, places, Silent(), opened(instance))
        key = dg.AssetKey(["x", "problems"])
        assert len(instance.fetch_materializations(key, limit=10).records) == 2


def test_the_journal_of_what_is_published_goes_and_those_of_what_is_not_stay(places: Places) -> None:
    publish(places, GRAPH)
    store = Store(places.root)
    manifests = [store.current(f"x/round_01/trajectories/{shard}") for shard in ("000", "001")]
    begun = []
    for made in manifests:
        assert made is not None
        for code_version in (made.code_version, "of another file"):
            begun.append(journals(store, made.key, code_version, made.inputs, made.roles))
            begun[-1].mkdir(parents=True)
            (begun[-1] / "run").write_bytes(b"answers")
    (store.place("x/round_01/trajectories/001") / "current").unlink()
    with open_instance(places) as instance:
        catch_up(EXPERIMENT, places, Silent(), opened(instance))
    assert [path.exists() for path in begun] == [False, True, True, True]


def test_nothing_published_is_nothing_to_tell(places: Places) -> None:
    catch_up(EXPERIMENT, places, Silent(), never)
