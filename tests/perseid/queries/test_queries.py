import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from perseid.artifacts import Store, present
from perseid.errors import UserError
from perseid.queries import VIEWS, Limits, named, run_query
from perseid.queries.running import ONCE
from perseid.tables import SCHEMAS, columns_of
from tests.perseid.queries.conftest import PAIR, POOLS, PROBLEMS, T1, TAUGHT, Writer, tree


def rows(found: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return found.select(columns).rows() if columns else found.rows()


def test_every_query_describes_itself_and_runs_on_an_empty_store(store: Store) -> None:
    assert len(named()) >= 10
    for name, query in named().items():
        assert query.description.endswith("."), name
        values = {parameter.name: "x" for parameter in query.parameters if parameter.required}
        if values:
            with pytest.raises(UserError, match="nothing is called 'x'; there are no artifacts in this root yet"):
                run_query(store, name, values)
        else:
            assert run_query(store, name).height == 0, name


@pytest.mark.parametrize(
    ("query", "parameters", "near"),
    [
        ("problems_of_checkpoint", {"checkpoint": "toy/round_01/polcy"}, "did you mean toy/round_01/policy"),
        ("problems_of_checkpoint", {"checkpoint": "toy/round_01/policy", "version": "0" * 16}, ""),
        ("checkpoints_of_problem", {"problem_id": "p9"}, "there are d1, h1, p1, p2, p3"),
        ("hardest_problems", {"experiment": "tony"}, "did you mean toy?"),
        ("search_against_sampling", {"part": "seeen"}, ""),
    ],
)
def test_a_parameter_that_names_nothing_is_a_mistake_and_not_an_empty_table(
    store: Store, write: Writer, query: str, parameters: dict[str, str], near: str
) -> None:
    name, value = list(parameters.items())[-1]
    with pytest.raises(UserError, match=f"query {query}: {name}: nothing is called '{value}'.*{re.escape(near)}"):
        run_query(store, query, parameters)


@pytest.mark.parametrize(
    ("sql", "limits", "told"),
    [
        ("with recursive t as (select 1 n union all select n + 1 from t) select count(*) from t", Limits(0.3), "0.3 s"),
        ("select count(*) from range(10000000) a, range(10000000) b", Limits(0.3), "not done in 0.3 s; --max-seconds"),
        ("from range(100000000000)", Limits(), "finds more than 1,000,000 rows; add a limit, or --max-rows"),
        ("select list(range) from range(100000000)", Limits(memory_gib=0.1), "needs over 0.1 GiB; --max-memory-gib"),
        ("select repeat('x', 60000) from range(100000)", Limits(memory_gib=0.1), "needs over 0.1 GiB"),
    ],
)
def test_a_query_is_bounded_in_seconds_memory_and_rows(store: Store, sql: str, limits: Limits, told: str) -> None:
    with pytest.raises(UserError, match=told):
        run_query(store, sql, limits=limits)


def test_a_query_may_be_cut_and_then_gives_a_row_more_than_asked_for(store: Store) -> None:
    found = run_query(store, "from range(100000000000)", limits=Limits(rows=3, cut=True))
    assert rows(found) == [(0,), (1,), (2,), (3,)]


def test_a_name_in_sql_is_no_variable_of_the_program(store: Store) -> None:
    for name in ("limits", "secret_frame", "values"):
        secret_frame = pl.DataFrame({"a": [1]})
        with pytest.raises(UserError, match=f"Table with name {name} does not exist"):
            run_query(store, f"select * from {name}")
        assert secret_frame.height == 1


def test_every_view_of_an_empty_store_has_its_columns_and_no_rows(store: Store) -> None:
    for name in SCHEMAS:
        found = run_query(store, f"select * from {name}")
        assert found.height == 0
        assert len(found.columns) == len(set(found.columns))
        place = {"experiment"} if name in ONCE else {"experiment", "round", "stage", "shard", "key", "version"}
        assert set(found.columns) > place
        assert found.columns[0] in {*columns_of(name), "read_shard"}
    assert set(run_query(store, "show tables")["name"]) == set(VIEWS)


def test_rows_carry_the_place_of_their_artifact(store: Store, write: Writer) -> None:
    found = run_query(store, "select problem_id, experiment, round, stage, shard, key from searches order by key")
    assert rows(found) == [
        ("p1", "toy", 1, "trajectories", "000", "toy/round_01/trajectories/000"),
        ("p2", "toy", 1, "trajectories", "001", "toy/round_01/trajectories/001"),
        ("p3", "toy", 2, "trajectories", "000", "toy/round_02/trajectories/000"),
    ]


def test_the_round_of_a_problem_is_its_own_and_that_of_an_example_is_its_checkpoints(
    store: Store, write: Writer
) -> None:
    asked = run_query(store, "select problem_id, round from pools order by all")
    assert rows(asked) == [("d1", 0), ("h1", 0), ("p1", 1), ("p2", 1), ("p3", 2)]
    examples = run_query(
        store, "select round, from_round, example_id from examples where source = 'verified' order by all"
    )
    assert rows(examples) == [(1, 1, "found"), (2, 1, "found"), (2, 2, "again")]


def test_views_hold_the_current_versions_unless_all_are_asked_for(store: Store, write: Writer) -> None:
    count = "select count(*) from examples where key = 'toy/round_01/policy'"
    write("round_01/policy", {"examples": TAUGHT}, ("problems",), "again")
    assert run_query(store, count).item() == 2
    assert run_query(store, count, all_versions=True).item() == 2 + 3
    made = "select count(*), count(*) filter (where current) from manifests where key = 'toy/round_01/policy'"
    assert rows(run_query(store, made)) == [(1, 1)]
    assert rows(run_query(store, made, all_versions=True)) == [(2, 1)]


def test_views_hold_what_the_graph_has_now_and_not_what_it_had(store: Store, write: Writer, tmp_path: Path) -> None:
    """Two shards became one, and the second round was taken out."""
    everything = tuple(store.keys("toy"))
    assert run_query(store, "select count(*) from searches").item() == 3
    left = tuple(key for key in everything if "round_02" not in key and not key.endswith("/001"))
    present.record(store.root, "toy", present.of(store.root, tmp_path / "toy.yaml", "", left))
    assert rows(run_query(store, "select problem_id from searches")) == [("p1",)]
    assert rows(run_query(store, "solved_by_round_and_facet", {"facet": "family"})) == [
        ("toy", 1, "family", "gcd", 1, 1, 1.0, 20)
    ]
    assert run_query(store, "select count(*) from manifests where key like '%/001'").item() == 0
    assert run_query(store, "select count(*) from searches", all_versions=True).item() == 3
    assert run_query(store, "checkpoints_of_problem", {"problem_id": "p1"}).height == 3


def test_shards_of_two_makings_are_not_counted_together(store: Store, write: Writer) -> None:
    """A search that is made again has one of its shards: with p1, which the other one of before has too."""
    steps: dict[str, tuple[float, bool | None]] = {"0.1": (-1.0, False)}
    write("round_01/trajectories/001", tree("p1", steps), ("round_01/pool",))
    assert rows(run_query(store, "select problem_id, shard from searches where round = 1")) == [("p1", "001")]
    assert run_query(store, "select count(*) from searches where round = 1", all_versions=True).item() == 3
    write("round_01/trajectories/000", tree("p2", steps), ("round_01/pool",))
    assert run_query(store, "select count(*) from searches where round = 1").item() == 2


def test_a_manifest_tells_the_settings_that_were_read_and_whether_the_code_was_committed(
    store: Store, write: Writer
) -> None:
    settings = {"training.ppm": {"epochs": 2, "scale": 5.0}, "seed": 3}
    write(
        "round_01/ppm", {"pair_scores": [(PAIR, "train", 0.9, -0.9)]}, ("round_01/pairs",), "other", settings=settings
    )
    found = run_query(store, "select settings, git_commit, git_dirty from manifests where stage = 'ppm'")
    told, commit, dirty = found.row(0)
    assert json.loads(told) == settings
    assert dirty == (commit.endswith("-dirty") if commit else None)
    epochs = """select settings->'$."training.ppm".epochs' from manifests where stage = 'ppm'"""
    assert run_query(store, epochs).item() == "2"


def test_lineage_holds_the_edges_of_all_versions(store: Store, write: Writer) -> None:
    parents = "select parent_key, parent_version from lineage where child_key = 'toy/round_01/ppm' order by all"
    expected = [(f"toy/round_01/{stage}", write.version(f"round_01/{stage}")) for stage in ("pairs", "policy")]
    assert rows(run_query(store, parents)) == expected
    write("round_01/policy", {"examples": TAUGHT}, ("problems",), "again")
    assert rows(run_query(store, parents)) == expected


def test_an_edge_stands_in_the_roles_in_which_its_input_was_read_and_in_none_where_nobody_recorded_them(
    store: Store, write: Writer
) -> None:
    policy, other = "toy/round_01/policy", "toy/round_00/policy"
    roles = {"student": (policy,), "teacher": (policy, other)}
    write("round_03/distilled", {}, ("round_01/policy", "round_00/policy"), "distilled", roles=roles)
    edges = "select role, parent_key from lineage where child_key = $key order by all"
    assert rows(run_query(store, edges, {"key": "toy/round_03/distilled"})) == [
        ("student", policy),
        ("teacher", other),
        ("teacher", policy),
    ]
    assert {role for role, _ in rows(run_query(store, edges, {"key": "toy/round_01/ppm"}))} == {None}


def test_solved_share_by_round_and_whatever_is_known_of_problems(store: Store, write: Writer) -> None:
    found = run_query(store, "solved_by_round_and_facet")
    assert rows(found) == [
        ("toy", 1, "all", "all", 2, 1, 0.5, 40),
        ("toy", 1, "family", "gcd", 1, 1, 1.0, 20),
        ("toy", 1, "family", "lcm", 1, 0, 0.0, 20),
        ("toy", 2, "all", "all", 1, 1, 1.0, 20),
        ("toy", 2, "family", "lcm", 1, 1, 1.0, 20),
    ]
    assert run_query(store, "solved_by_round_and_facet", {"experiment": "toy"}).equals(found)
    by = run_query(store, "solved_by_round_and_facet", {"facet": "family"})
    assert by.equals(found.filter(pl.col("facet") == "family"))


def test_hardest_problems_are_the_unsolved_then_those_with_fewest_right_answers(store: Store, write: Writer) -> None:
    assert run_query(store, "hardest_problems")["problem_id"].to_list() == ["p2", "p3", "p1"]
    assert run_query(store, "hardest_problems", {"limit": 1})["problem_id"].to_list() == ["p2"]


def test_average_q_by_depth(store: Store, write: Writer) -> None:
    assert rows(run_query(store, "q_by_depth")) == [
        ("toy", 1, 1, 2, 2, -0.25, 0.0, 0.5),
        ("toy", 1, 2, 1, 1, 1.0, 0.0, 1.0),
        ("toy", 2, 1, 2, 2, 0.0, 0.0, 1.0),
    ]


def test_tokens_and_seconds_by_stage_add_up_the_shards(store: Store, write: Writer) -> None:
    found = run_query(store, "tokens_and_seconds_by_stage")
    search = found.filter((pl.col("round") == 1) & (pl.col("stage") == "trajectories"))
    assert rows(search, "artifacts", "tokens", "wall_s", "cpu_s") == [(2, 50, 5.0, 0.0)]
    assert found["tokens"].sum() == 150


def test_disagreements_are_wrong_answers_that_the_ppm_likes(store: Store, write: Writer) -> None:
    found = run_query(store, "disagreements")
    assert rows(found, "round", "seen_in", "problem_id", "name", "score", "answer", "gold") == [
        (1, "evaluation", "h1", "policy sampled 0", 0.9, "4", "3"),
        (2, "search", "p3", "0.2", 0.8, "7", "6"),
    ]
    assert run_query(store, "disagreements", {"threshold": 0.0}).height == 3


def test_discoveries_name_the_first_verified_round_of_each_value_of_a_facet(store: Store, write: Writer) -> None:
    assert rows(run_query(store, "discoveries")) == [
        ("toy", "family", "gcd", True, 1, 1, 1),
        ("toy", "family", "lcm", False, 2, 1, 2),
    ]


def test_verified_but_wrong_programs_are_those_that_fail_on_fresh_instances(store: Store, write: Writer) -> None:
    found = run_query(store, "verified_but_wrong")
    assert rows(found, "trajectory_id", "fresh", "right", "response") == [(T1, 5, 4, "program of p1")]


def test_search_is_set_against_sampling_at_equal_tokens(store: Store, write: Writer) -> None:
    found = run_query(store, "search_against_sampling")
    assert rows(found) == [("toy", 1, "policy", 0.5, 0.75, 0.5, 0.25, None, 90.0, None, 4)]


def test_sql_of_ones_own_takes_parameters_and_gives_plain_numbers(store: Store, write: Writer) -> None:
    found = run_query(store, "select sum(tokens) as tokens from nodes where problem_id = $p", {"p": "p1"})
    assert found.equals(pl.DataFrame({"tokens": [10]}))


def test_the_name_of_a_view_is_a_query(store: Store, write: Writer) -> None:
    assert run_query(store, "gold").height == 5


def test_a_problem_that_several_rounds_ask_is_one_problem_with_several_places(store: Store, write: Writer) -> None:
    again = {name: [*POOLS[2][name], *POOLS[1][name]] for name in POOLS[2]}
    again["pools"] = [(2, "pool", problem) for problem in ("p1", "p2", "p3")]
    write("round_02/pool", again, ("problems", "round_01/pool"))
    for view in ("problems", "gold", "facets"):
        assert run_query(store, view)["problem_id"].sort().to_list() == ["d1", "h1", "p1", "p2", "p3"]
    asked = run_query(store, "select round, problem_id from pools where split = 'pool' order by all")
    assert rows(asked) == [(1, "p1"), (1, "p2"), (2, "p1"), (2, "p2"), (2, "p3")]
    assert rows(run_query(store, "discoveries"), "pool") == [(1,), (2,)]


def test_rows_that_were_left_out_are_asked_for_by_file_and_line(store: Store, write: Writer) -> None:
    write("problems", {**PROBLEMS, "skipped": [("train", 4, "mine", "a.jsonl", 5, "the gold is empty")]})
    found = run_query(store, "select file, line, reason, key from skipped")
    assert rows(found) == [("a.jsonl", 5, "the gold is empty", "toy/problems")]


def test_of_two_versions_of_a_problem_the_later_one_is_told(store: Store, write: Writer) -> None:
    corrected = {**POOLS[2], "gold": [("p3", "7")]}
    write("round_02/pool", corrected, ("problems", "round_01/pool"))
    told = "select answer ->> '$' from gold where problem_id = 'p3'"
    assert run_query(store, told).item() == "7"
    assert run_query(store, told, all_versions=True).item() == "7"


def test_a_query_that_is_not_known_names_the_nearest(store: Store) -> None:
    with pytest.raises(UserError, match="query: hardest_problem: no such query; did you mean hardest_problems"):
        run_query(store, "hardest_problem")


def test_a_parameter_that_is_not_known_or_lacking_is_named(store: Store) -> None:
    with pytest.raises(UserError, match="query q_by_depth: depth: no such parameter; it takes experiment"):
        run_query(store, "q_by_depth", {"depth": 1})
    with pytest.raises(
        UserError,
        match="query checkpoints_of_problem: problem_id: needs a value, --param problem_id=…: id of the problem",
    ):
        run_query(store, "checkpoints_of_problem")


def test_sql_that_is_refused_comes_with_duckdbs_words_and_the_views(store: Store) -> None:
    with pytest.raises(UserError, match=r"(?s)Referenced column \"qq\" not found.*views: problems, gold.*q_by_depth"):
        run_query(store, "select qq from nodes")


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to '{file}'",
        "create table mine as select 1",
        "insert into nodes select * from nodes",
        "set threads = 1",
        "attach '{file}' as mine",
        "select 1; copy (select 1) to '{file}'",
        "install httpfs",
        "",
    ],
)
def test_only_reading_statements_run(store: Store, tmp_path: Path, sql: str) -> None:
    with pytest.raises(UserError, match="expected one statement that only reads"):
        run_query(store, sql.format(file=tmp_path / "written"))
    assert not (tmp_path / "written").exists()


def test_a_query_reads_nothing_outside_the_store(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text("a\n1\n")
    for sql in (f"from '{outside}'", f"from read_text('{outside}')", f"from glob('{outside.parent}/*')"):
        with pytest.raises(UserError):
            run_query(store, sql)


def test_a_truncated_table_is_named_by_a_query_that_reads_it_and_by_no_other(store: Store, write: Writer) -> None:
    key = "toy/round_02/verified"
    path = store.place(key) / write.version("round_02/verified") / "verified.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"verified\.parquet"):
        run_query(store, "discoveries")
    assert run_query(store, "q_by_depth").height == 3
