import pytest

from perseid.artifacts import Store
from perseid.errors import UserError
from perseid.lineage import Ancestor, ancestors, checkpoints_of, locate, problems_of, trajectories_of
from tests.perseid.queries.conftest import PAIR, T1, T3, TAUGHT, Writer, tree, verified


def outline(node: Ancestor, depth: int = 0) -> list[str]:
    line = "  " * depth + node.key.removeprefix("toy/") + (" ..." if node.repeated else "")
    return [line, *(inner for parent in node.parents for inner in outline(parent, depth + 1))]


def test_the_tree_of_ancestors_goes_down_to_the_problems(store: Store, write: Writer) -> None:
    tree = ancestors(store, "toy/round_02/policy")
    assert outline(tree) == [
        "round_02/policy",
        "  problems",
        "  round_00/policy",
        "    problems ...",
        "  round_01/verified",
        "    round_01/pool",
        "      problems ...",
        "    round_01/trajectories/000",
        "      round_00/policy ...",
        "      round_01/pool ...",
        "    round_01/trajectories/001",
        "      round_00/policy ...",
        "      round_01/pool ...",
        "  round_02/verified",
        "    round_02/pool",
        "      problems ...",
        "      round_01/pool ...",
        "    round_02/trajectories/000",
        "      round_01/policy",
        "        problems ...",
        "        round_00/policy ...",
        "        round_01/verified ...",
        "      round_01/ppm",
        "        round_01/pairs",
        "          round_01/pool ...",
        "          round_01/trajectories/000 ...",
        "          round_01/trajectories/001 ...",
        "        round_01/policy ...",
        "      round_02/pool ...",
    ]
    assert tree.manifest == store.current("toy/round_02/policy")
    assert tree.current


def test_ancestors_are_of_the_versions_that_were_read_not_of_the_current_ones(store: Store, write: Writer) -> None:
    before = write.version("round_01/policy")
    write("round_01/policy", {"examples": TAUGHT}, ("problems",), "again")
    policy = ancestors(store, "toy/round_01/ppm").parents[1]
    assert (policy.version, policy.current) == (before, False)
    assert [parent.key for parent in policy.parents] == ["toy/problems", "toy/round_00/policy", "toy/round_01/verified"]
    assert [parent.key for parent in ancestors(store, "toy/round_01/policy").parents] == ["toy/problems"]
    assert len(ancestors(store, "toy/round_01/policy", before).parents) == 3


def test_an_address_names_a_key_and_perhaps_a_version(store: Store, write: Writer) -> None:
    version = write.version("round_01/policy")
    for name in ("toy/round_01/policy", "perseid://toy/round_01/policy", f"perseid://toy/round_01/policy@{version}"):
        assert locate(store, name) == ("toy/round_01/policy", version)


def test_an_artifact_that_is_not_there_comes_with_the_nearest_names(store: Store, write: Writer) -> None:
    with pytest.raises(UserError, match=r"toy/round_03/policy: no such artifact; nearest: .*toy/round_02/policy"):
        locate(store, "perseid://toy/round_03/policy")
    with pytest.raises(UserError, match="nearest: toy/round_01/trajectories/000, toy/round_01/trajectories/001"):
        locate(store, "toy/round_01/trajectories")
    with pytest.raises(UserError, match=r"toy/problems@f{16}: no such version; there are [0-9a-f]{16}$"):
        locate(store, f"toy/problems@{'f' * 16}")
    with pytest.raises(UserError, match="expected a key or perseid://key"):
        locate(store, "toy@latest@")


def test_a_store_without_artifacts_says_so(store: Store) -> None:
    with pytest.raises(UserError, match=r"there is no artifact in .* yet"):
        ancestors(store, "toy/problems")


def test_a_policy_is_traced_to_trajectories_tree_nodes_and_problems(store: Store, write: Writer) -> None:
    found = trajectories_of(store, "toy/round_02/policy")
    columns = ["from_round", "trajectory_id", "problem_id", "facets", "node_id", "trajectories_key", "response"]
    assert found.select(columns).rows() == [
        (1, T1, "p1", "family=gcd", "0.1.1", "toy/round_01/trajectories/000", "program of p1"),
        (2, T3, "p3", "family=lcm", "0.1", "toy/round_02/trajectories/000", "program of p3"),
    ]


def test_a_replaced_policy_is_traced_to_what_it_read(store: Store, write: Writer) -> None:
    replaced = write.version("round_01/policy")
    write("round_01/policy", {"examples": TAUGHT}, ("problems",), "again")
    assert trajectories_of(store, "toy/round_01/policy").height == 0
    assert trajectories_of(store, "toy/round_01/policy", replaced)["trajectory_id"].to_list() == [T1]


def test_a_policy_is_traced_to_what_it_read_itself_not_to_what_its_ancestors_were_made_of_again(
    store: Store, write: Writer
) -> None:
    """Round 1 is searched again, in one shard, and its policy comes out the same: the second policy read the first."""
    before = trajectories_of(store, "toy/round_02/policy")
    steps: dict[str, tuple[float, bool | None]] = {"0.1": (0.5, None), "0.1.1": (1.0, True), "0.2": (-1.0, False)}
    again = write("round_01/trajectories/000", tree("p1", steps), ("round_01/pool", "round_00/policy"))
    rows = verified(T1, "p1", "gcd", {"000": again})
    write("round_01/verified", rows, ("round_01/pool", "round_01/trajectories/000"))
    examples = [*TAUGHT, ("found", "verified", 1, "p1", T1, 3.0)]
    was = write.version("round_01/policy")
    inputs = ("problems", "round_00/policy", "round_01/verified")
    assert write("round_01/policy", {"examples": examples}, inputs, "one") == was
    assert trajectories_of(store, "toy/round_02/policy").rows() == before.rows()
    assert trajectories_of(store, "toy/round_01/policy")["trajectories_version"].to_list() == [again]


def test_problems_of_a_policy_are_those_of_its_examples_and_of_a_ppm_those_of_its_pairs(
    store: Store, write: Writer
) -> None:
    columns = ["problem_id", "facets", "source", "from_round", "rows"]
    assert problems_of(store, "toy/round_02/policy").select(columns).rows() == [
        ("d1", "family=gcd", "demonstration", 0, 1),
        ("p1", "family=gcd", "verified", 1, 1),
        ("p3", "family=lcm", "verified", 2, 1),
    ]
    assert problems_of(store, "toy/round_01/ppm").select(columns).rows() == [("p1", "family=gcd", "pair", 1, 1)]


def test_what_reads_pairs_in_another_role_did_not_train_on_them(store: Store, write: Writer) -> None:
    pairs = "toy/round_01/pairs"
    write("round_03/audit", {}, ("round_01/pairs",), "audit", roles={"looked_at": (pairs,)})
    write("round_03/guide", {}, ("round_01/pairs",), "guide", roles={"pairs": (pairs,)})
    keys = checkpoints_of(store, "p1")["key"].to_list()
    assert "toy/round_03/guide" in keys
    assert "toy/round_03/audit" not in keys
    assert problems_of(store, "toy/round_03/guide")["problem_id"].to_list() == ["p1"]
    assert problems_of(store, "toy/round_03/audit").height == 0


def test_checkpoints_of_a_problem_are_all_that_ever_trained_on_it(store: Store, write: Writer) -> None:
    write("round_01/policy", {"examples": TAUGHT}, ("problems",), "again")
    columns = ["key", "current", "source", "row_ids"]
    assert checkpoints_of(store, "p1").select(columns).rows() == [
        ("toy/round_01/policy", False, "verified", [T1]),
        ("toy/round_01/ppm", True, "pair", [PAIR]),
        ("toy/round_02/policy", True, "verified", [T1]),
    ]
    assert checkpoints_of(store, "p2").height == 0
    assert checkpoints_of(store, "p1", "toy").height == 3
