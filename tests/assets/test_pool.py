"""`pool`: new to all that was asked before it, the same whoever asks, its answers apart."""

import polars as pl
import pytest

from assets import pool, problems
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.problems.sources.tools import Pool
from tests.assets.conftest import EXPERIMENT, Begin, FakeTrainer, publish


def made(begin: Begin, key: str) -> Manifest:
    work = begin(key, FakeTrainer())
    maker = problems if key == "x/problems" else pool
    result = maker.make(work)
    manifest = work.draft.publish("code", {})
    assert result.metrics["problems"] == manifest.row_counts["problems"]
    assert result.tables["facets"].filter(facet="family")["problems"].sum() == manifest.row_counts["problems"]
    return manifest


def test_pools_are_of_their_size_in_each_family_new_to_all_before_them_and_hold_no_answer(
    store: Store, begin: Begin
) -> None:
    manifests = [made(begin, key) for key in ("x/problems", "x/round_01/pool", "x/round_02/pool")]
    before, *pools = (store.read(manifest, "problems") for manifest in manifests)
    asked = set(before["question"]) | set(store.read(manifests[0], "demonstrations")["question"])
    for number, drawn in enumerate(pools, start=1):
        sizes = EXPERIMENT.problems.pool
        assert isinstance(sizes, Pool)
        facets = store.read(manifests[number], "facets").filter(name="family")
        assert dict(facets.group_by("value").len().rows()) == {"gcd": sizes.demonstrated, "lcm": sizes.undemonstrated}
        places = store.read(manifests[number], "pools")
        assert places.rows() == [(number, "pool", name) for name in drawn["problem_id"]]
        assert asked.isdisjoint(drawn["question"])
        asked |= set(drawn["question"])
    gold = store.read(manifests[1], "gold")
    assert set(gold["problem_id"]) == set(pools[0]["problem_id"])
    assert set(gold.columns) & set(pools[0].columns) == {"problem_id"}


def test_a_pool_made_again_is_the_same_and_one_more_round_leaves_it_as_it_is(store: Store, begin: Begin) -> None:
    made(begin, "x/problems")
    first = made(begin, "x/round_01/pool")
    made(begin, "x/round_02/pool")
    assert made(begin, "x/round_01/pool").version == first.version


def test_a_pool_that_asks_a_held_out_question_is_refused(store: Store, begin: Begin) -> None:
    """A question that the draw does not know of: of another wording, or put in by hand."""
    whole = made(begin, "x/problems")
    question = store.read(made(begin, "x/round_01/pool"), "problems")["question"][0]
    tables = {name: store.read(whole, name) for name in whole.row_counts}
    held_out = tables["pools"].filter(split="held_out")["problem_id"][0]
    asked = pl.when(problem_id=held_out).then(pl.lit(f" {question}\n")).otherwise("question")
    tables["problems"] = tables["problems"].with_columns(question=asked)
    publish(store, "x/problems", tables)
    with pytest.raises(UserError, match="x/round_01/pool: problems: expected held-out questions in no other split"):
        pool.make(begin("x/round_01/pool", FakeTrainer()))
