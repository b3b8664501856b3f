"""The tree of these tests, worked by hand (Q in brackets; + and - are right and wrong answers):

0 -- 0.1 [0.5]  -- 0.1.1 + [1.0]
  |             `- 0.1.2 - [-1.0]
  |- 0.2 [-1.0] -- 0.2.1 - [-1.0]
  |- 0.3 [1.0]  -- 0.3.1 + [1.0]
  `- 0.4 [-1.0] (failed)
"""

from dataclasses import asdict
from typing import Any

import polars as pl
import pytest

from perseid.experiment import Pairs
from perseid.formats import TOOLS
from perseid.problems.problem import Problem
from perseid.selection.pairs import REASONS, Branch, build_pairs, contrasts, edges, fault, split_of
from perseid.tables import frame

PROBLEMS = pl.DataFrame([asdict(Problem(p, "toy", "number", f"{p}?")) for p in ("p", "r")])
STEPS = Pairs(margin=0.5, min_edit=0, final=False)
TREE = {
    "0": (0.0, None),
    "0.1": (0.5, None),
    "0.1.1": (1.0, True),
    "0.1.2": (-1.0, False),
    "0.2": (-1.0, None),
    "0.2.1": (-1.0, False),
    "0.3": (1.0, None),
    "0.3.1": (1.0, True),
    "0.4": (-1.0, None),
}


def grown(tree: dict[str, tuple[float, bool | None]], problem_id: str = "p") -> dict[str, pl.DataFrame]:
    """The tables of a tree given as node id -> (Q, verdict); the text of a node is its id in brackets."""
    nodes, texts, trajectories = [], [], []
    for node_id, (q, correct) in tree.items():
        parent = node_id.rpartition(".")[0]
        answer = None if correct is None else "1"
        nodes.append(
            (problem_id, node_id, parent, node_id.count("."), "open", 1, q, q, None, answer, correct, "ok", "fast", 1)
        )
        if parent:
            texts.append((problem_id, node_id, f"[{node_id}]", "", ""))
        if correct is not None:
            trajectories.append((node_id.ljust(16), problem_id, node_id, "1", correct, 0.0, 0.0, 2, 2, 1))
    return {
        "nodes": frame("nodes", nodes),
        "texts": frame("texts", texts),
        "trajectories": frame("trajectories", trajectories),
    }


def built(settings: Pairs, tree: dict[str, tuple[float, bool | None]] = TREE) -> tuple[list[Any], dict[str, int]]:
    pairs, rejects = build_pairs(grown(tree), PROBLEMS, TOOLS, settings)
    columns = pairs.select("kind", "prefix", "chosen", "rejected", "q_chosen", "q_rejected", "weight")
    return sorted(columns.rows()), {reason: count for reason, count in rejects.rows() if count}


def test_the_best_children_that_lead_right_are_paired_with_the_worst_that_lead_wrong() -> None:
    third = pytest.approx(1 / 3)
    pairs, rejects = built(STEPS)
    assert pairs == [
        ("step", "", "[0.1]", "[0.2]", 0.5, -1.0, third),
        ("step", "", "[0.3]", "[0.1]", 1.0, 0.5, third),
        ("step", "", "[0.3]", "[0.2]", 1.0, -1.0, third),
        ("step", "[0.1]", "[0.1.1]", "[0.1.2]", 1.0, -1.0, 1.0),
    ]
    assert rejects == {}


def test_what_is_too_close_in_q_or_in_text_is_counted_and_the_weights_of_what_stays_sum_to_one() -> None:
    pairs, rejects = built(STEPS.model_copy(update={"margin": 0.75}))
    assert [(pair[2], pair[3], pair[6]) for pair in pairs] == [
        ("[0.1]", "[0.2]", 0.5),
        ("[0.3]", "[0.2]", 0.5),
        ("[0.1.1]", "[0.1.2]", 1.0),
    ]
    assert rejects == {"margin": 1}
    assert built(STEPS.model_copy(update={"min_edit": 2})) == ([], {"edit": 4})


def test_final_pairs_compare_whole_responses_of_the_best_right_and_the_worst_wrong() -> None:
    pairs, _ = built(Pairs(final=True, margin=2.0, min_edit=99))
    half = 0.25
    assert pairs == [
        ("final", "", "[0.1][0.1.1]", "[0.1][0.1.2]", 0.75, -0.25, half),
        ("final", "", "[0.1][0.1.1]", "[0.2][0.2.1]", 0.75, -1.0, half),
        ("final", "", "[0.3][0.3.1]", "[0.1][0.1.2]", 1.0, -0.25, half),
        ("final", "", "[0.3][0.3.1]", "[0.2][0.2.1]", 1.0, -1.0, half),
    ]


def test_a_problem_that_is_all_right_or_all_wrong_gives_no_pair() -> None:
    assert built(STEPS, {"0": (1.0, None), "0.1": (1.0, True), "0.2": (1.0, True)}) == ([], {"no_contrast": 1})
    assert built(STEPS, {"0": (1.0, None), "0.1": (1.0, None)}) == ([], {})


def written(tree: dict[str, tuple[float, bool | None]], words: dict[str, str], settings: Pairs) -> list[pl.DataFrame]:
    """Pairs and what was dropped, of a tree whose steps say `words`."""
    tables = grown(tree)
    tables["texts"] = tables["texts"].with_columns(text=pl.col("node_id").replace_strict(words))
    return list(build_pairs(tables, PROBLEMS, TOOLS, settings))


def test_the_best_right_and_the_worst_wrong_way_on_decide_in_whatever_order_they_are_found() -> None:
    """Both children lead both ways; Q speaks for the first, and so does its best way on: 0.75 against -0.75."""
    for order in ((1, 2), (2, 1)):
        tree: dict[str, tuple[float, bool | None]] = {"0": (0.0, None), "0.1": (0.5, None), "0.2": (-0.5, None)}
        tree |= {f"0.1.{order[0]}": (1.0, True), f"0.1.{order[1]}": (-0.9, True)}
        tree |= {f"0.2.{order[0]}": (-1.0, False), f"0.2.{order[1]}": (1.0, False)}
        pairs, rejects = built(STEPS, tree)
        assert [(pair[2], pair[3]) for pair in pairs] == [("[0.1]", "[0.2]")]
        assert rejects == {}


def test_final_pairs_take_the_best_and_the_worst_by_mean_q_and_among_equals_by_text() -> None:
    found = [("a", 0.5, True), ("c", 0.9, True), ("b", 0.9, True), ("d", -0.2, False), ("z", -0.9, False)]
    found.append(("y", -0.9, False))
    tree = {"0": (0.0, None), **{f"0.{n}": (q, correct) for n, (_, q, correct) in enumerate(found, 1)}}
    words = {f"0.{n}": word for n, (word, _, _) in enumerate(found, 1)}
    pairs, _ = written(tree, words, Pairs(final=True, margin=2.0, min_edit=0, positives=1, negatives=1))
    finals = pairs.filter(pl.col("kind") == "final")
    assert finals.select("chosen", "rejected", "q_chosen", "q_rejected").rows() == [("b", "y", 0.9, -0.9)]


def test_nodes_that_say_the_same_give_a_pair_once_and_the_others_are_counted() -> None:
    below = {f"0.{n}.{m}": (q, q > 0) for n in (1, 2, 3) for m, q in ((1, 1.0), (2, -1.0))}
    tree = {"0": (0.0, None), **{f"0.{n}": (0.0, None) for n in (1, 2, 3)}, **below}
    words = {node: "same" if node.count(".") == 1 else "right" if q > 0 else "wrong" for node, (q, _) in tree.items()}
    pairs, rejects = written(tree, words, STEPS)
    assert pairs.select("prefix", "chosen", "rejected").rows() == [("same", "right", "wrong")]
    assert dict(rejects.rows()) == {**dict.fromkeys(REASONS, 0), "duplicate": 2}


def test_problems_without_contrast_are_counted_and_those_after_them_give_their_pairs() -> None:
    plain = {"0": (1.0, None), "0.1": (1.0, True)}
    parts = [grown(plain, "a"), grown(plain, "b"), grown(TREE)]
    tables = {name: pl.concat([part[name] for part in parts]) for name in parts[0]}
    pairs, rejects = build_pairs(tables, PROBLEMS, TOOLS, STEPS)
    assert pairs["problem_id"].to_list() == ["p"] * 4
    assert dict(rejects.rows()) == {**dict.fromkeys(REASONS, 0), "no_contrast": 2}


def branch(name: str, q: float, right: float | None, wrong: float | None) -> Branch:
    return Branch(name, q, [], right, wrong)


def test_a_single_child_on_one_side_faces_up_to_twice_as_many() -> None:
    right = [branch(f"r{i}", 0.9 - i / 10, 1.0, None) for i in range(5)]
    wrong = [branch(f"w{i}", -0.9 + i / 10, None, -1.0) for i in range(5)]

    def faced(children: list[Branch]) -> list[tuple[str, str]]:
        return [(p.text, n.text) for p, n in contrasts(Branch("", 0.0, children), Pairs())]

    assert faced(right[:1] + wrong) == [("r0", f"w{i}") for i in range(4)]
    assert faced(right + wrong[:1]) == [(f"r{i}", "w0") for i in range(4)]
    assert faced(right + wrong) == [("r0", "w0"), ("r0", "w1"), ("r1", "w0"), ("r1", "w1")]


def test_of_equal_texts_the_first_in_rank_takes_one_place() -> None:
    right = [branch("r", 0.9, 1.0, None), branch("r", 0.8, 1.0, None), branch("s", 0.7, 1.0, None)]
    wrong = [branch("w", -0.9, None, -1.0), branch("w", -0.8, None, -1.0)]
    found = contrasts(Branch("", 0.0, right + wrong), Pairs())
    assert [(p.text, p.q, n.text, n.q) for p, n in found] == [("r", 0.9, "w", -0.9), ("s", 0.7, "w", -0.9)]


def test_equal_responses_make_one_final_pair_and_none_with_themselves() -> None:
    same = {"0": (0.0, None), "0.1": (1.0, True), "0.2": (0.5, True), "0.3": (-0.5, False), "0.4": (-1.0, False)}
    tables = grown(same)
    written = {"0.1": "good", "0.2": "good", "0.3": "bad", "0.4": "good"}
    tables["texts"] = tables["texts"].with_columns(text=pl.col("node_id").replace_strict(written))
    pairs, _ = build_pairs(tables, PROBLEMS, TOOLS, Pairs(final=True, margin=2.0, min_edit=0))
    assert pairs.select("kind", "chosen", "rejected", "q_chosen", "q_rejected", "weight").rows() == [
        ("final", "good", "bad", 1.0, -0.5, 1.0)
    ]


def test_a_pair_must_agree_in_q_and_in_its_continuations() -> None:
    settings = Pairs(margin=0.5, min_edit=3)
    chosen = branch("abcdef", 0.5, 0.4, None)
    assert fault(chosen, branch("uvwxyz", 0.5, None, -1.0), settings) == "order"
    assert fault(chosen, branch("uvwxyz", -0.5, None, 0.4), settings) == "continuation"
    assert fault(chosen, branch("uvwxyz", 0.1, None, -1.0), settings) == "margin"
    assert fault(chosen, branch("abcdxy", -0.5, None, -1.0), settings) == "edit"
    assert fault(chosen, branch("abcxyz", 0.0, None, -1.0), settings) == ""


def test_only_nodes_with_both_kinds_of_answers_below_are_walked() -> None:
    leaf, mixed = branch("x", 0.0, 1.0, None), branch("m", 0.0, 1.0, -1.0)
    root = Branch("", 0.0, [leaf, mixed], 1.0, -1.0)
    assert [(text, node) for text, node in edges(root)] == [("", root), ("m", mixed)]


def test_every_pair_of_a_problem_is_in_one_split_and_the_share_is_about_as_asked() -> None:
    assert {split_of(f"p{i}", 0.0) for i in range(100)} == {"train"}
    assert {split_of(f"p{i}", 1.0) for i in range(100)} == {"held_out"}
    assert 200 < sum(split_of(f"p{i}", 0.25) == "held_out" for i in range(1000)) < 300
    pairs, _ = build_pairs(grown(TREE), PROBLEMS, TOOLS, Pairs(min_edit=0))
    assert set(pairs["split"]) == {split_of("p", 0.25)}


def test_pairs_are_named_by_their_content_and_sorted_by_name() -> None:
    first, _ = build_pairs(grown(TREE), PROBLEMS, TOOLS, Pairs(min_edit=0))
    again, _ = build_pairs(grown(dict(reversed(TREE.items()))), PROBLEMS, TOOLS, Pairs(min_edit=0))
    other, _ = build_pairs(grown(TREE, "r"), PROBLEMS, TOOLS, Pairs(min_edit=0))
    assert first.equals(again)
    assert first["pair_id"].is_sorted()
    assert first.height == other.height == 8
    assert first["pair_id"].n_unique() == 8
    assert not set(first["pair_id"]) & set(other["pair_id"])
