"""`new` for a model and a file of problems: what it writes loads, and is of what stands in the file."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from orchestration.template import EXAMPLES, LOOKED_AT, RULES, SHOTS, remarks, write_own
from perseid.checkpoints import Pretrained
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment
from perseid.formats import chain, format_of
from perseid.formats.extraction import Rule, extract
from perseid.formats.telling import Shot
from perseid.section import Section

SOLVED = [{"question": f"What is {n} and 1?", "answer": f"{n}+1={n + 1}\n#### {n + 1}", "level": n} for n in range(9)]
CHOSEN = [{"stem": "Which is even?", "A": f"{n}1", "B": f"{n}2", "answer": "B"} for n in range(1, 9)]
TESTED = [{"prompt": f"def f{n}():", "entry_point": f"f{n}", "test": f"assert f{n}() == {n}"} for n in range(9)]
ASKED = [{"problem": f"Is {n} even?", "solution": n % 2 == 0} for n in range(9)]
PROVED = [{"problem": f"Half of {n}?", "answer": rf"\frac{{{n}}}{{2}}"} for n in range(1, 9)]


def lines(rows: list[dict[str, Any]], path: Path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def loaded(name: str, path: str, folder: Path, model: str = "org/Model-Instruct") -> Experiment:
    return load_experiment(write_own(name, model, [path], folder).path)


def told(experiment: Experiment) -> Mapping[str, Any]:
    [source] = experiment.problems.train
    return source.model_dump(mode="json", exclude_unset=True)


def _shots(path: Path) -> list[Shot]:
    return [Shot(**row) for row in yaml.safe_load(path.read_text())["shots"]]


def _rules(format: str) -> tuple[Rule, ...]:
    return chain.Settings.model_validate(yaml.safe_load(format)).answer


def test_every_kind_of_file_becomes_an_experiment_that_loads(tmp_path: Path) -> None:
    found = {
        name: loaded(name, lines(rows, tmp_path / f"{name}.jsonl"), tmp_path)
        for name, rows in {"s": SOLVED, "c": CHOSEN, "t": TESTED, "a": ASKED, "p": PROVED}.items()
    }
    kinds = {name: told(experiment)["kind"] for name, experiment in found.items()}
    assert kinds == {"s": "number", "c": "choice", "t": "code", "a": "boolean", "p": "math"}
    formats = {name: experiment.models.policy.format.kind for name, experiment in found.items()}
    assert formats == {"s": "code_steps", "c": "chain", "t": "chain", "a": "chain", "p": "chain"}
    solved = told(found["s"])
    assert (solved["columns"]["facets"], solved["gold_after"]) == ({"level": "level"}, "####")
    assert told(found["c"])["template"] == "{{ stem }}\nA) {{ A }}\nB) {{ B }}"
    assert told(found["t"])["columns"]["gold"] == {"tests": "test", "entry_point": "entry_point"}
    assert found["s"].recipe == "rejection"


def test_worked_examples_are_of_the_kind_of_the_answers(tmp_path: Path) -> None:
    """None about marbles where a program, a letter or yes is asked for, and each with an answer that is found."""
    named = [{"question": f"Who is {n}?", "answer": "Ann" if n % 2 else "Bob"} for n in range(9)]
    endings = {"c": "The answer is B.", "t": "```", "a": "The answer is no.", "n": "The answer is pots."}
    for name, rows in {"c": CHOSEN, "t": TESTED, "a": ASKED, "n": named}.items():
        format = format_of(loaded(name, lines(rows, tmp_path / f"{name}.jsonl"), tmp_path).models.policy.format)
        told = [message.content for message in format.prompt("Q?", shots=True).messages if message.role == "assistant"]
        assert told[-1].endswith(endings[name])
        found = [format.answer(text, "") for text in told]
        assert None not in found
        assert len(set(found)) >= 2


def test_the_examples_of_every_kind_are_right() -> None:
    """As the rules find them; programs do what their question shows of them."""
    shown = {kind: _shots(EXAMPLES / f"{kind}.yaml") for kind in sorted(SHOTS)}
    rules = {kind: _rules(RULES[kind]) for kind in shown}
    found = {kind: [extract(shot.response, rules[kind]) for shot in shots] for kind, shots in shown.items()}
    programs = found.pop("code")
    assert found == {
        "boolean": ["no", "yes", "yes", "no"],
        "choice": ["C", "A", "B"],
        "text": ["Wednesday", "Paris", "pots"],
    }
    for shot, program in zip(shown["code"], programs, strict=True):
        written: dict[str, Any] = {}
        exec(program or "", written)
        [asked] = re.findall(r">>> (.*)\n\s+(.*)", shot.question)
        assert repr(eval(asked[0], written)) == asked[1]


def test_many_problems_are_not_all_held_out(tmp_path: Path) -> None:
    """A fifth of a large file would make evaluation dearer than search."""
    rows = [{"question": f"What is {n} and 1?", "answer": n + 1} for n in range(LOOKED_AT)]
    held = {
        name: loaded(name, lines(some, tmp_path / f"{name}.jsonl"), tmp_path).problems.held_out
        for name, some in {"many": rows, "few": rows[:-1]}.items()
    }
    told = {name: one.model_dump(exclude_unset=True) for name, one in held.items() if isinstance(one, Section)}
    assert told == {"many": {"problems": 400}, "few": {"share": 0.2}}


def test_a_path_to_no_model_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    problems = lines(SOLVED, tmp_path / "s.jsonl")
    for model in (str(tmp_path / "none"), "./none", "a/b/c"):
        with pytest.raises(
            UserError, match=r"--model: expected a folder or a name of the hub like owner/model; found "
        ):
            write_own("mine", model, [problems], tmp_path)
    assert not (tmp_path / "mine.yaml").exists()


def test_formats_of_files_go_by_their_endings(tmp_path: Path) -> None:
    table = pl.DataFrame([{"question": f"{n}?", "answer": n} for n in range(9)])
    table.write_parquet(tmp_path / "p.parquet")
    (tmp_path / "j.json").write_text(json.dumps(table.to_dicts()))
    for name, delimiter in (("c.csv", ","), ("t.tsv", "\t")):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([table.columns, *table.rows()])
    found = {name: told(loaded(name[0], str(tmp_path / name), tmp_path)) for name in ("p.parquet", "j.json", "c.csv")}
    assert {source["source"] for source in found.values()} == {"parquet", "json", "csv"}
    assert told(loaded("t", str(tmp_path / "t.tsv"), tmp_path))["delimiter"] == "\t"


def test_a_chat_template_is_used_where_the_model_has_one(tmp_path: Path) -> None:
    problems = lines(SOLVED, tmp_path / "s.jsonl")
    bare, templated = tmp_path / "bare", tmp_path / "templated"
    for folder in (bare, templated):
        folder.mkdir()
    (templated / "chat_template.jinja").write_text("{{ messages }}")
    models = {"a": str(bare), "b": str(templated), "c": "org/Base-1B", "d": "org/Base-1B-Instruct"}
    found = {}
    for name, model in models.items():
        policy = loaded(name, problems, tmp_path, model).models.policy
        assert isinstance(policy, Pretrained)
        found[name] = policy.chat_template
    assert found == {"a": "none", "b": "own", "c": "none", "d": "own"}


def test_what_was_guessed_is_said(tmp_path: Path) -> None:
    written = write_own("mine", "m", [lines(SOLVED, tmp_path / "s.jsonl")], tmp_path)
    asks = "column question asks, answer knows, behind '####'"
    assert remarks(written) == [f"{tmp_path / 'mine.yaml'}: {asks}; answers are compared as kind number"]
    grouped = lines([{"question": "Why?", "answer": "1,250"}], tmp_path / "g.jsonl")
    assert remarks(write_own("grouped", "m", [grouped], tmp_path))[0].endswith(
        "as kind math (numbers, some of them with signs that number cannot read)"
    )
    long = lines([{"question": "Why?", "answer": "because " * 9}], tmp_path / "l.jsonl")
    assert remarks(write_own("long", "m", [long], tmp_path))[1].startswith("look at it: answer has answers of up to")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("mine.txt", "x", "--problems: expected a file that ends in one of .jsonl, .ndjson, .json"),
        ("none.jsonl", None, "No such file"),
        ("empty.jsonl", "", "expected rows that can be read, found none"),
        ("broken.jsonl", "{\n", "expected rows that can be read, found none"),
        ("other.jsonl", '{"a": 1, "b": 2, "c": 3}\n', "columns: expected a column that asks and one that knows"),
    ],
)
def test_what_holds_no_problems_is_one_line_and_writes_nothing(
    tmp_path: Path, name: str, content: str | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as error:
        write_own("mine", "m", [str(tmp_path / name)], tmp_path)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mine.yaml").exists()


@pytest.mark.parametrize("name", ["null", "True", "false", "a: b #", "zwei Wörter"])
def test_a_column_may_be_called_whatever_it_is(tmp_path: Path, name: str) -> None:
    path = lines([{"question": f"What is {n} and one?", name: n} for n in range(20)], tmp_path / "a.jsonl")
    assert told(loaded("mine", path, tmp_path))["columns"]["gold"] == name


@pytest.mark.parametrize(
    ("model", "path", "option"),
    [("m\nname: other", "a.jsonl", "--model"), ("m", "a\n.jsonl", "--problems"), ("m", "a\u2028.jsonl", "--problems")],
)
def test_a_name_that_cannot_be_printed_is_one_line_and_writes_nothing(
    tmp_path: Path, model: str, path: str, option: str
) -> None:
    with pytest.raises(UserError, match=f"new: {option}: expected a name that can be printed") as found:
        write_own("mine", model, [path], tmp_path)
    assert str(found.value).isprintable()
    assert not [*tmp_path.iterdir()]


def test_columns_that_utf_8_cannot_name_are_one_line_and_write_nothing(tmp_path: Path) -> None:
    path = lines([{"question": f"What is {n} and one?", "\ud800": n} for n in range(9)], tmp_path / "a.jsonl")
    with pytest.raises(UserError, match="new: --problems: expected columns whose names are text in UTF-8"):
        write_own("mine", "m", [path], tmp_path)
    assert not (tmp_path / "mine.yaml").exists()


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("my work")
    with pytest.raises(UserError, match="exists already"):
        write_own("mine", "m", [lines(SOLVED, tmp_path / "s.jsonl")], tmp_path)
    assert (tmp_path / "mine.yaml").read_text() == "my work"
