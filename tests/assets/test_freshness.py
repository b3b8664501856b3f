"""On a real store: what is fresh, which is one level deep, and what stands, which is all the way up."""

from dataclasses import replace

import pytest

from assets.freshness import Unit, fresh, input_versions, restored, survey, units
from assets.graph import Graph, unroll
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment

TOOLS = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": TOOLS,
        "shards": 2,
        "rounds": [{}],
    }
)
GRAPH = unroll(EXPERIMENT)
UNITS = {unit.key: unit for unit in units(GRAPH)}
POOL, SHARDS = "x/round_01/pool", [f"x/round_01/trajectories/00{shard}" for shard in range(2)]
SHARD, VERIFIED = UNITS[SHARDS[0]], UNITS["x/round_01/verified"]


def make(store: Store, key: str, inputs: dict[str, str], content: str = "") -> Manifest:
    with store.draft(key) as draft:
        draft.path("content").write_text(f"{key} {content}")
        return draft.publish(UNITS[key].node.code_version, inputs)


@pytest.fixture
def made(store: Store) -> dict[str, Manifest]:
    """The manifests of all artifacts, each made of those before it."""
    found: dict[str, Manifest] = {}
    for unit in UNITS.values():
        above = [key for node in unit.node.inputs for key in GRAPH[node].artifacts]
        found[unit.key] = make(store, unit.key, {key: found[key].version for key in above})
    return found


def versions(made: dict[str, Manifest], *keys: str) -> dict[str, str]:
    return {key: made[key].version for key in keys}


def test_a_unit_is_an_asset_or_a_shard_of_one() -> None:
    trajectories = GRAPH["x/round_01/trajectories"]
    found = {unit.key: unit for unit in units(GRAPH)}
    assert list(found) == [key for node in GRAPH.values() for key in node.artifacts]
    assert [found[key] for key in SHARDS] == [Unit(trajectories, f"00{n}", SHARDS[n]) for n in range(2)]
    assert found[POOL] == Unit(GRAPH[POOL], None, POOL)


def test_the_inputs_of_a_unit_have_versions_once_the_last_shard_is_there(store: Store) -> None:
    made = {POOL: make(store, POOL, {}), SHARDS[0]: make(store, SHARDS[0], {})}
    assert input_versions(GRAPH, VERIFIED.node, store) is None
    assert fresh(GRAPH, VERIFIED, store) is None
    made[SHARDS[1]] = make(store, SHARDS[1], {})
    assert input_versions(GRAPH, VERIFIED.node, store) == versions(made, POOL, *SHARDS)
    assert input_versions(GRAPH, UNITS["x/problems"].node, store) == {}


def test_what_is_made_of_the_present_inputs_and_code_is_fresh(store: Store, made: dict[str, Manifest]) -> None:
    assert survey(GRAPH, store) == made
    for key, unit in UNITS.items():
        assert fresh(GRAPH, unit, store) == made[key]
    edited = replace(SHARD, node=replace(SHARD.node, code_version="0" * 16))
    assert fresh(GRAPH, edited, store) is None


def test_what_is_made_of_an_input_of_before_is_stale_and_what_reads_it_does_not_stand(
    store: Store, made: dict[str, Manifest]
) -> None:
    pool = make(store, POOL, versions(made, "x/problems"), "anew")
    assert fresh(GRAPH, SHARD, store) is None
    stand = survey(GRAPH, store)
    first = {key: made[key] for key in ("x/problems", "x/round_00/policy", "x/round_00/evaluation")}
    assert stand == {**dict.fromkeys(UNITS), **first, POOL: pool}
    make(store, VERIFIED.key, {POOL: pool.version, **versions(made, *SHARDS)})
    assert fresh(GRAPH, VERIFIED, store) is not None
    assert survey(GRAPH, store)[VERIFIED.key] is None


def test_an_edit_takes_away_all_below_it_and_nothing_beside_it(store: Store, made: dict[str, Manifest]) -> None:
    pairs = "x/round_01/pairs"
    edited: Graph = {**GRAPH, pairs: replace(GRAPH[pairs], code_version="0" * 16)}
    gone = {pairs, "x/round_01/ppm", "x/round_01/evaluation"}
    assert {key for key, manifest in survey(edited, store).items() if manifest is None} == gone


def test_what_was_made_before_of_the_present_inputs_and_code_counts_again(
    store: Store, made: dict[str, Manifest]
) -> None:
    """Another setting made the shard anew; it is changed back."""
    with store.draft(SHARD.key) as draft:
        draft.path("content").write_text("of another setting")
        other = draft.publish("other code", versions(made, *made[SHARD.key].inputs))
    assert fresh(GRAPH, SHARD, store) is None
    assert restored(GRAPH, SHARD, store) == made[SHARD.key]
    assert fresh(GRAPH, SHARD, store) == made[SHARD.key]
    assert store.versions(SHARD.key) == sorted([other.version, made[SHARD.key].version])


def test_nothing_counts_again_while_an_input_is_missing_or_another(store: Store, made: dict[str, Manifest]) -> None:
    make(store, POOL, {}, "anew")
    assert restored(GRAPH, SHARD, store) is None
    (store.place(POOL) / "current").unlink()
    assert restored(GRAPH, SHARD, store) is None
