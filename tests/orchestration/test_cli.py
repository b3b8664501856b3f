"""Mistakes on the command line: one line on standard error, exit status 2, nothing lost."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.cli import main
from orchestration.places import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[2]
SMOKE = (EXPERIMENTS / "smoke.yaml").read_text()


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "orchestration", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(arguments)`: the one line that a command says in this process, which would end with status 2."""

    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        line = capsys.readouterr().err
        assert (ended.value.code, line.count("\n")) == (2, 1), line
        return line

    return said


def test_a_process_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    done = run("lineage", "x/round_01/policy", "--root", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ")


def test_servers_that_are_all_down_are_named_with_what_to_do(refused: Refused, tmp_path: Path) -> None:
    """A port that nobody listens on: it is asked before anything is trained."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    engine = f'engine: {{kind: server, threads: 1, patience_s: 1, endpoints: ["http://127.0.0.1:{port}/v1"]}}'
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE.replace("engine: {threads: 1}", engine))
    said = refused("evolve", str(path), "--root", str(tmp_path / "root"))
    assert f"127.0.0.1:{port}" in said
    assert "vllm serve" in said
    assert list((tmp_path / "root").rglob("manifest.json")) == []


def test_a_grader_that_cannot_be_loaded_is_said_before_anything_is_made(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text("".join(f'{{"question": "{n}?", "answer": "{n}"}}\n' for n in range(20)))
    (tmp_path / "near.py").write_text("import nothing_of_this_name\n\ndef grade(question, gold, answers): ...\n")
    own = f"{{near: {{python: {tmp_path / 'near.py'}}}}}"
    train = f"{{train: [{{source: jsonl, path: {tmp_path / 'sums.jsonl'}, kind: near}}], held_out: {{problems: 5}}}}"
    models = "{policy: {base: pretrained, from: a/b}}"
    path = tmp_path / "mine.yaml"
    path.write_text(f"name: mine\nproblems: {train}\nmodels: {models}\ngraders: {own}\nrounds: [{{}}]\n")
    said = refused("evolve", str(path), "--root", str(tmp_path / "root"))
    assert "graders.near.python: expected a grader that can be loaded: ModuleNotFoundError" in said
    assert list((tmp_path / "root").rglob("manifest.json")) == []


def test_a_misspelt_option_or_command_is_named_with_what_to_do() -> None:
    for arguments, named in ((("status", "smoke", "--sede", "1"), "--sede"), (("evolv",), "evolv")):
        done = run(*arguments)
        assert (done.returncode, named in done.stderr, "Traceback" in done.stderr) == (2, True, False)
        assert "--help" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("shards: 2", "shard: 2", "shard"),
        ("shards: 2", "shards: many", "shards"),
        ("shards: 2", "shards: 0", "shards"),
        ("rollouts: 4", "rolouts: 4", "method.rolouts"),
        ("  - {}", "  - {method: {ppmm: true}}", "ppmm"),
        ("demonstrated: [gcd, spell_backward]", "demonstrated: [gdc]", "gdc"),
    ],
)
def test_a_mistake_in_the_file_names_the_file_and_the_key(
    refused: Refused, tmp_path: Path, old: str, new: str, named: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE.replace(old, new, 1))
    message = refused("evolve", str(path), "--root", str(tmp_path / "root"))
    assert named in message
    assert str(path) in message or "problems" in message


def test_a_missing_file_is_named(refused: Refused) -> None:
    assert "/nowhere/x.yaml" in refused("evolve", "/nowhere/x.yaml")


def test_an_unknown_experiment_lists_those_there_are(refused: Refused) -> None:
    assert "smoke" in refused("status", "nope")


def test_a_round_that_is_not_there_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "expected a number in [0, 2]" in refused("evolve", "smoke", "--rounds", "7", "--root", str(tmp_path))


def test_a_root_that_is_a_file_is_named(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("")
    assert str(tmp_path / "root") in refused("evolve", "smoke", "--root", str(tmp_path / "root"))


@pytest.mark.parametrize(
    "arguments",
    [("status", "smoke"), ("query", "select 1"), ("lineage", "smoke/problems"), ("check",), ("promote", "smoke", "0")],
)
def test_to_read_from_a_root_that_is_not_there_is_refused_and_makes_nothing(
    refused: Refused, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert "expected a folder of artifacts, found nothing" in refused(*arguments, "--root", str(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written_is_named(refused: Refused, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert str(tmp_path / "root") in refused("evolve", "smoke", "--root", str(tmp_path / "root"))


def test_promote_without_a_policy_and_rollback_without_a_champion_are_refused(refused: Refused, tmp_path: Path) -> None:
    refused("promote", "smoke", "1", "--root", str(tmp_path))
    refused("rollback", "smoke", "--root", str(tmp_path))


def test_sql_that_does_not_parse_and_an_unknown_query_are_refused(refused: Refused, tmp_path: Path) -> None:
    assert "Parser Error" in refused("query", "select 1 +", "--root", str(tmp_path))
    assert "no such query" in refused("query", "hardest", "--root", str(tmp_path))


def test_lineage_of_nothing_is_refused(refused: Refused, tmp_path: Path) -> None:
    assert "x/round_01/policy" in refused("lineage", "x/round_01/policy", "--root", str(tmp_path))


def test_help_names_every_command() -> None:
    text = run("--help").stdout
    names = ("evolve", "status", "query", "lineage", "check", "promote", "rollback", "new", "ui")
    assert [name for name in names if name not in text] == []


@pytest.mark.parametrize("root", ["loop", "~nobody-of-this-name/root", "x" * 300])
def test_a_root_to_which_no_way_leads_is_named(refused: Refused, tmp_path: Path, root: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    where = root if root.startswith("~") else str(tmp_path / root)
    for command in (["status", "smoke"], ["query", "select 1"], ["check"]):
        assert "root: expected the path of a folder" in refused(*command, "--root", where)
