import polars as pl
import pytest

from perseid import tables

GOLD = pl.DataFrame({"problem_id": ["a", "b"], "answer": ["1", "2"]})
NODES = pl.DataFrame(
    [
        ("p", "0", "", 0, "open", 2, 0.0, 0.0, None, None, None, None, None, 0),
        ("p", "0.1", "0", 1, "answer", 1, 1.0, 1.0, 0.5, "4", True, "ok", "fast", 7),
        ("p", "0.2", "0", 1, "error", 1, -1.0, -1.0, None, None, None, "error", "cpython", 5),
        ("p", "0.3", "0", 1, "open", 0, 0.0, 0.0, None, None, None, "ok", "fast", 5),
    ],
    schema=tables.columns_of("nodes"),
    orient="row",
)


def faults(name: str, frame: pl.DataFrame) -> dict[str, int]:
    with pytest.raises(tables.TableError) as caught:
        tables.validate(name, frame)
    return caught.value.counts


def test_every_table_of_the_contract_has_a_schema() -> None:
    assert set(tables.SCHEMAS) == {
        *(
            "problems",
            "gold",
            "facets",
            "pools",
            "skipped",
            "demonstrations",
            "nodes",
            "texts",
            "trajectories",
            "searches",
            "verified",
            "rejected",
        ),
        *("shards", "pairs", "pair_rejects", "examples", "training", "pair_scores", "evaluations", "metrics"),
        *("soundness", "unverified"),
    }


def test_a_frame_of_rows_has_the_columns_of_its_schema_and_is_sorted_by_its_key() -> None:
    made = tables.frame("gold", [("b", "2"), ("a", "1")])
    assert made.equals(GOLD)
    for name in tables.SCHEMAS:
        assert tables.frame(name, []).schema == tables.columns_of(name), name


def test_rows_of_another_width_are_no_frame() -> None:
    with pytest.raises(Exception, match="column"):
        tables.frame("gold", [("a", "1", "number")])


def test_every_table_may_be_empty() -> None:
    for name in tables.SCHEMAS:
        empty = pl.DataFrame(schema=tables.columns_of(name))
        assert tables.validate(name, empty).equals(empty)


def test_a_valid_table_is_returned_as_it_is() -> None:
    assert tables.validate("gold", GOLD).equals(GOLD)
    assert tables.validate("nodes", NODES).equals(NODES)


def test_a_problem_without_an_answer_is_named() -> None:
    with pytest.raises(tables.TableError) as caught:
        tables.validate("gold", GOLD.with_columns(answer=pl.Series(["1", ""])), "toy/problems/gold.parquet")
    assert str(caught.value) == "toy/problems/gold.parquet: answer: str_length(1, None) (1); first:  in row 1"
    assert caught.value.counts == {"answer: str_length(1, None)": 1}
    assert caught.value.failure_cases.rows(named=True) == [
        {"column": "answer", "check": "str_length(1, None)", "failure_case": "", "index": 1}
    ]


def test_a_duplicate_id_is_counted_with_all_its_rows() -> None:
    twice = pl.concat([GOLD, GOLD.head(1)])
    with pytest.raises(tables.TableError) as caught:
        tables.validate("gold", twice)
    assert caught.value.counts == {"problem_id: not unique": 2}
    assert caught.value.failure_cases["index"].to_list() == [0, 2]
    assert (caught.value.where, caught.value.key) == ("table gold", "problem_id")


def test_columns_that_are_missing_unknown_moved_or_of_another_type_are_named() -> None:
    assert faults("gold", GOLD.drop("answer")) == {"answer: missing column": 1}
    assert faults("gold", GOLD.with_columns(hint=pl.lit("x"))) == {"hint: unknown column": 1}
    assert faults("gold", GOLD.select("answer", "problem_id")) == {"answer: column out of order": 1}
    assert faults("gold", GOLD.with_columns(answer=pl.lit(1))) == {"answer: expected String": 1}


def test_nulls_are_faults_where_nothing_says_otherwise() -> None:
    assert faults("gold", GOLD.with_columns(answer=pl.lit(None, pl.String))) == {"answer: null": 2}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (pl.lit(1.5).alias("prior"), "prior: less_than_or_equal_to(1.0)"),
        (pl.lit(float("nan")).alias("prior"), "prior: less_than_or_equal_to(1.0)"),
        (pl.lit("lost").alias("status"), "status: "),
        (pl.lit("gpu").alias("tier"), "tier: "),
        (pl.lit(-1, pl.Int64).alias("tokens"), "tokens: greater_than_or_equal_to(0)"),
        (pl.lit(9.0).alias("value_sum"), "row: q_is_value_sum_over_visits"),
        (pl.format("{}.0", pl.col("node_id")).alias("node_id"), "node_id: str_matches"),
    ],
)
def test_node_values_outside_their_range_are_faults(change: pl.Expr, fault: str) -> None:
    found = faults("nodes", NODES.with_columns(change))
    assert len(found) == 1
    assert next(iter(found)).startswith(fault)


def test_a_loss_that_is_not_finite_never_enters_a_table() -> None:
    training = pl.DataFrame({"step": [1, 2], "loss": [0.5, float("inf")], "tokens": [8, 8]})
    assert faults("training", training) == {"loss: less_than(inf)": 1}


def test_a_verified_example_names_its_trajectory() -> None:
    row = ("e", "verified", 1, "p", None, 3.0)
    examples = pl.DataFrame([row], schema=tables.columns_of("examples"), orient="row")
    assert faults("examples", examples) == {"row: verified_rows_name_their_trajectory": 1}


def test_tables_of_one_artifact_agree_with_each_other() -> None:
    columns = tables.columns_of("problems")
    problem = ("a", "tools", "number", "gcd of 4 and 6?")
    problems = pl.DataFrame([problem], schema=columns, orient="row")
    tables.relate({"problems": problems, "gold": GOLD.head(1)})
    with pytest.raises(tables.TableError, match="an answer belongs to no problem"):
        tables.relate({"problems": problems, "gold": GOLD})
    with pytest.raises(tables.TableError) as caught:
        tables.relate({"problems": problems, "gold": GOLD.tail(1)}, "toy/problems")
    assert str(caught.value) == "toy/problems: problem_id: a problem has no answer (in gold) (1); first: a"


def test_every_node_but_the_root_has_its_parent() -> None:
    tables.relate({"nodes": NODES})
    with pytest.raises(tables.TableError, match="a node has no parent"):
        tables.relate({"nodes": NODES.filter(pl.col("node_id") != "0")})


def test_bytes_do_not_depend_on_the_order_or_the_chunks_of_the_rows() -> None:
    many = pl.DataFrame({"problem_id": [f"p{i:06}" for i in range(200_000)], "answer": ["7"] * 200_000})
    shuffled = many.sample(fraction=1.0, shuffle=True, seed=1)
    chunked = pl.concat([shuffled[:70_001], shuffled[70_001:]], rechunk=False)
    assert tables.parquet_bytes("gold", chunked) == tables.parquet_bytes("gold", many)


def test_rows_are_sorted_by_the_key_of_the_table() -> None:
    assert tables.key_of("evaluations") == ["problem_id", "arm", "decoding", "sample"]
    assert tables.key_of("rejected") == ["trajectory_id", "problem_id", "reason"]
    assert pl.read_parquet(tables.parquet_bytes("gold", GOLD[::-1])).equals(GOLD)
