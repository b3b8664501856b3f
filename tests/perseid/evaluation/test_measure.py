"""What answers prove; each number by hand."""

import polars as pl

from perseid import tables
from perseid.evaluation.measure import Evidence, measure, unknown_facet, unsound
from perseid.experiment import Evaluation

SETTINGS = Evaluation(samples=2, bootstrap_samples=100)
FACETS = tables.frame("facets", [("p1", "part", "seen"), ("p2", "part", "new_wording"), ("p1", "level", "3")])
Answer = tuple[str, str, str, int, str | None, bool | None, float | None]


def answers(*rows: Answer) -> pl.DataFrame:
    """Rows of `evaluations`, 10 tokens each; without an answer they are refused."""
    filled = [
        (name, arm, way, number, "refused" if answer is None else "answer", answer, right, 10, ppm)
        for name, arm, way, number, answer, right, ppm in rows
    ]
    return tables.validate("evaluations", tables.frame("evaluations", filled))


ANSWERS = answers(
    ("p1", "policy", "greedy", 0, "1", True, None),
    ("p2", "policy", "greedy", 0, "2", True, None),
    ("p1", "control", "greedy", 0, "0", False, None),
    ("p2", "control", "greedy", 0, "2", True, None),
    ("p1", "policy", "sampled", 0, "1", True, 0.9),
    ("p1", "policy", "sampled", 1, "0", False, 0.1),
    ("p2", "policy", "sampled", 0, "2", True, -0.5),
    ("p2", "policy", "sampled", 1, "3", False, 0.5),
)


def measured(
    evidence: Evidence, rows: pl.DataFrame = ANSWERS, settings: Evaluation = SETTINGS
) -> dict[tuple[str, str, str], tuple[float, int]]:
    table = tables.validate("metrics", measure(rows, FACETS, settings, 0, evidence))
    return {(arm, metric, part): (value, n) for arm, metric, _, part, value, _, _, n in table.iter_rows()}


def whole(*rows: Answer, settings: Evaluation = SETTINGS) -> dict[str, tuple[float, int]]:
    """The policy's metrics over all problems, those that are 0 left out."""
    found = measured(Evidence(), answers(*rows), settings)
    return {name: score for (arm, name, part), score in found.items() if (arm, part) == ("policy", "all") and score[0]}


def test_every_metric_by_hand() -> None:
    before = answers(("p1", "policy", "greedy", 0, None, False, None), ("p2", "policy", "greedy", 0, "2", True, None))
    scores = pl.DataFrame(
        {"split": ["held_out"] * 2 + ["train"], "score_chosen": [1.0, 0, 0], "score_rejected": [0.0, 1, 1]}
    )
    sound = pl.DataFrame(
        {"trajectory_id": ["a", "b", "c", "d"], "fresh": [3] * 4, "right": [3, 2, 2, 0], "untold": [0, 0, 1, 1]}
    )
    found = measured(Evidence(before, scores, sound))
    assert {(arm, metric): score for (arm, metric, part), score in found.items() if part == "all"} == {
        ("policy", "greedy_pass@1"): (1.0, 2),
        ("policy", "greedy_tokens"): (10.0, 2),
        ("policy", "greedy_refused"): (0.0, 2),
        ("policy", "greedy_untold"): (0.0, 2),
        ("policy", "greedy_cut"): (0.0, 2),
        ("policy", "greedy_no_answer"): (0.0, 2),
        ("policy", "greedy_delta_previous"): (0.5, 2),
        ("policy", "greedy_delta_control"): (0.5, 2),
        ("policy", "sampled_pass@1"): (0.5, 2),
        ("policy", "sampled_pass@2"): (1.0, 2),
        ("policy", "sampled_maj@2"): (0.5, 2),
        ("policy", "sampled_ppm_best@2"): (0.5, 2),
        ("policy", "sampled_tokens"): (20.0, 2),
        ("policy", "sampled_refused"): (0.0, 2),
        ("policy", "sampled_untold"): (0.0, 2),
        ("policy", "sampled_cut"): (0.0, 2),
        ("policy", "sampled_no_answer"): (0.0, 2),
        ("policy", "ppm_pair_accuracy"): (0.5, 2),
        ("policy", "verified_but_wrong"): (2 / 3, 3),
        ("policy", "verified_untold"): (0.5, 4),
        ("control", "greedy_pass@1"): (0.5, 2),
        ("control", "greedy_tokens"): (10.0, 2),
        ("control", "greedy_refused"): (0.0, 2),
        ("control", "greedy_untold"): (0.0, 2),
        ("control", "greedy_cut"): (0.0, 2),
        ("control", "greedy_no_answer"): (0.0, 2),
    }
    assert found["policy", "greedy_delta_control", "new_wording"] == (0.0, 1)
    assert found["control", "greedy_pass@1", "seen"] == (0.0, 1)


def test_what_was_cut_and_what_came_to_no_answer_are_shares_of_the_samples() -> None:
    rows = answers(
        ("p1", "policy", "sampled", 0, None, False, None),
        ("p1", "policy", "sampled", 1, None, False, None),
        ("p2", "policy", "sampled", 0, None, False, None),
        ("p2", "policy", "sampled", 1, "2", True, None),
    )
    cut = (pl.col("problem_id") == "p1") & (pl.col("sample") == 0)
    none = pl.when(pl.col("answer").is_null()).then(pl.lit("no_answer")).otherwise("status")
    found = measured(Evidence(), rows.with_columns(status=pl.when(cut).then(pl.lit("cut")).otherwise(none)))
    assert found["policy", "sampled_cut", "all"] == (0.25, 2)
    assert found["policy", "sampled_no_answer", "all"] == (0.5, 2)


def test_what_was_not_measured_has_no_row() -> None:
    metrics = {metric for _, metric, _ in measured(Evidence())}
    assert not metrics & {"greedy_delta_previous", "ppm_pair_accuracy", "verified_but_wrong", "mcts_pass@1"}


def test_one_sample_is_no_greedy_answer() -> None:
    found = whole(
        ("p1", "policy", "greedy", 0, "1", True, None),
        ("p1", "policy", "sampled", 0, "0", False, None),
        ("p2", "policy", "greedy", 0, "2", True, None),
        ("p2", "policy", "sampled", 0, "2", True, None),
        settings=SETTINGS.model_copy(update={"samples": 1}),
    )
    assert (found["greedy_pass@1"], found["sampled_pass@1"]) == ((1.0, 2), (0.5, 2))


def test_the_search_s_answer_and_the_pick_of_the_samples_have_names_of_their_own() -> None:
    found = whole(
        ("p1", "policy", "mcts", 0, "1", True, None),
        *(("p1", "policy", "matched", n, answer, answer == "1", None) for n, answer in enumerate(["2", "1", "2"])),
    )
    assert found == {"mcts_pass@1": (1.0, 1), "mcts_tokens": (10.0, 1), "matched_tokens": (30.0, 1)}


def test_a_refused_problem_is_in_every_denominator_and_counted() -> None:
    found = whole(
        ("p1", "policy", "greedy", 0, "1", True, None),
        ("p2", "policy", "greedy", 0, None, False, None),
        ("p1", "policy", "sampled", 0, "1", True, None),
        ("p1", "policy", "sampled", 1, None, False, None),
        ("p2", "policy", "sampled", 0, None, False, None),
        ("p2", "policy", "sampled", 1, None, False, None),
        ("p1", "policy", "mcts", 0, "1", True, None),
        ("p2", "policy", "mcts", 0, None, False, None),
        ("p1", "policy", "matched", 0, "1", True, None),
        ("p2", "policy", "matched", 0, None, False, None),
    )
    assert {name: score for name, score in found.items() if "tokens" not in name} == {
        "greedy_pass@1": (0.5, 2),
        "greedy_refused": (0.5, 2),
        "sampled_pass@1": (0.25, 2),
        "sampled_pass@2": (0.5, 2),
        "sampled_maj@2": (0.5, 2),
        "sampled_refused": (1.0, 2),
        "mcts_pass@1": (0.5, 2),
        "mcts_refused": (0.5, 2),
        "matched_pass@1": (0.5, 2),
        "matched_refused": (0.5, 2),
    }


def test_what_cannot_be_told_is_left_out_where_it_decides_and_counted() -> None:
    found = whole(
        ("p1", "policy", "greedy", 0, "1", None, None),
        ("p2", "policy", "greedy", 0, "2", True, None),
        ("p1", "policy", "sampled", 0, "1", True, 0.9),
        ("p1", "policy", "sampled", 1, "x", None, 0.1),
        ("p2", "policy", "sampled", 0, "2", True, 0.5),
        ("p2", "policy", "sampled", 1, "2", True, 0.1),
    )
    assert {name: score for name, score in found.items() if "tokens" not in name} == {
        "greedy_pass@1": (1.0, 1),
        "greedy_untold": (0.5, 2),
        "sampled_pass@1": (1.0, 1),
        "sampled_pass@2": (1.0, 2),
        "sampled_maj@2": (1.0, 1),
        "sampled_ppm_best@2": (1.0, 2),
        "sampled_untold": (0.5, 2),
    }


def test_differences_are_over_the_problems_that_both_sides_have_and_can_be_told_of() -> None:
    rows = answers(
        ("p1", "policy", "greedy", 0, "1", True, None),
        ("p1", "control", "greedy", 0, "1", None, None),
        ("p2", "policy", "greedy", 0, "2", True, None),
        ("p2", "control", "greedy", 0, "0", False, None),
    )
    found = measured(Evidence(previous=answers(("p1", "policy", "greedy", 0, "0", False, None))), rows)
    assert found["policy", "greedy_delta_control", "all"] == (1.0, 1)
    assert found["policy", "greedy_delta_previous", "all"] == (1.0, 1)
    assert ("policy", "greedy_delta_previous", "new_wording") not in found


def test_a_ppm_that_scored_nothing_picks_nothing() -> None:
    scores = pl.DataFrame({"split": ["held_out"], "score_chosen": [1.0], "score_rejected": [0.0]})
    rows = answers(*(("p1", "policy", "sampled", n, None, False, None) for n in range(2)))
    assert measured(Evidence(pair_scores=scores), rows)["policy", "sampled_ppm_best@2", "all"] == (0.0, 1)


def test_a_facet_is_reported_by_its_values_where_it_has_some_and_not_too_many() -> None:
    """One value says nothing new; 21 are a table of noise."""
    names = [f"p{n:02}" for n in range(21)]
    told = answers(*((name, "policy", "greedy", 0, "1", n < 3, None) for n, name in enumerate(names)))
    rows = [(name, "subject", "algebra" if n < 4 else "geometry") for n, name in enumerate(names[:10])]
    rows += [(name, "origin", "book") for name in names] + [(name, "page", name) for name in names]
    found = measure(told, tables.frame("facets", rows), SETTINGS, 0, Evidence())
    shares = found.filter(pl.col("metric") == "greedy_pass@1").select("facet", "part", "value", "n")
    assert shares.rows() == [
        ("all", "all", 3 / 21, 21),
        ("subject", "algebra", 0.75, 4),
        ("subject", "geometry", 0.0, 6),
    ]


def test_a_program_is_unsound_only_where_it_can_be_told() -> None:
    sound = pl.DataFrame({"fresh": [3, 3, 3, 3], "right": [3, 2, 2, 0], "untold": [0, 0, 1, 2]})
    assert unsound(sound).to_list() == [False, True, None, True]


def test_a_ppm_without_pairs_is_none_and_the_vote_speaks_for_it() -> None:
    """The untrained PPM of a round has scored no pair, and no answer."""
    rows = answers(
        *(("p1", "policy", "sampled", n, "1", True, None) for n in range(2)),
        *(("p1", "policy", "matched", n, "1", True, None) for n in range(3)),
    )
    schema = {"split": pl.String, "score_chosen": pl.Float64, "score_rejected": pl.Float64}
    found = measured(Evidence(pair_scores=pl.DataFrame(schema=schema)), rows)
    assert found["policy", "matched_pass@1", "all"] == (1.0, 1)
    assert not {name for _, name, _ in found if "ppm" in name}


def test_greedy_answers_are_told_by_group_and_with_parts_counted_alike_where_a_facet_is_named() -> None:
    """Three additions, all right, of one story; one subtraction, wrong, without a story."""
    names = [f"p{n}" for n in range(4)]
    rows = answers(*((name, "policy", "greedy", 0, "1", name != "p3", None) for name in names))
    facets = [(name, "operation", "subtract" if name == "p3" else "add") for name in names]
    known = tables.frame("facets", facets + [(name, "story", "farm") for name in names[:3]])
    named = SETTINGS.model_copy(update={"by_group": "story", "macro": "operation"})
    found = measure(rows, known, named, 0, Evidence()).filter(facet="all")
    shown = {metric: rest for metric, *rest in found.select("metric", "value", "low", "high", "n").iter_rows()}
    assert shown["greedy_pass@1_by_group"] == [0.75, 0.0, 1.0, 2]
    assert shown["greedy_pass@1_macro"] == [0.5, 0.5, 0.5, 4]
    assert len([name for name in shown if name.endswith(("_by_group", "_macro"))]) == 2
    assert unknown_facet(named, known) is None
    for key in ("by_group", "macro"):
        wrong = SETTINGS.model_copy(update={key: "storey"})
        expected = "'storey' is not known (did you mean story?); expected one of operation, story"
        assert unknown_facet(wrong, known) == (f"evaluation.{key}", expected)
        assert unknown_facet(wrong, known.clear()) == (f"evaluation.{key}", "the held-out problems have no facets")
