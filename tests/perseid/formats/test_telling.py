"""Templates and examples of the user's own: what they may say, and what is wrong with them, when the file is read."""

import os
from pathlib import Path

import pytest

from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment
from perseid.formats import format_of
from perseid.formats.code_steps import Settings

FILE = """
name: small
recipe: rejection
problems: {train: [{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}], pool: {}}
models: {policy: {base: pretrained, from: /nowhere, format: FORMAT}}
method: {kind: flat, samples: 2}
rounds: [{}]
"""


def loaded(folder: Path, said: str) -> Experiment:
    (folder / "experiments").mkdir(exist_ok=True)
    path = folder / "experiments" / "small.yaml"
    path.write_text(FILE.replace("FORMAT", said))
    return load_experiment(path)


def test_files_are_looked_for_from_where_the_experiments_are(tmp_path: Path) -> None:
    (tmp_path / "mine.j2").write_text("{# a comment #}Q: {{ question | trim }}\nA:\n")
    (tmp_path / "mine.yaml").write_text("shots: []\n")
    e = loaded(tmp_path, "{kind: code_steps, template: mine.j2, shots: mine.yaml, system: Be brief.}")
    told = format_of(e.models.policy.format).prompt(" 1? ", shots=True)
    assert told.text == "Be brief.\n\nQ: 1?\nA:\n"


def test_a_name_alone_is_the_format_as_it_comes(tmp_path: Path) -> None:
    for kind in ("chain", "code_steps"):
        e = loaded(tmp_path, kind)
        assert format_of(e.models.policy.format).prompt("1?").text == "Question: 1?\nAnswer:\n"


def test_a_question_is_data_and_never_part_of_the_template() -> None:
    assert "{{ question }} {% x" in format_of(Settings()).prompt("{{ question }} {% x").text


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ question }", "expected a template of `question`; line 1: unexpected '}'"),
        ("{{ questoin }}", "expected a template of `question`; 'questoin' is undefined"),
        ("{{ question }} {{ gold }}", "expected a template of `question`; 'gold' is undefined"),
        ("{{ question }}\n{% for %}", "expected a template of `question`; line 2: "),
        ("{{ question.__class__ }}", "expected a template of `question`; access to attribute '__class__'"),
        ("{{ question }} {{ 1 / 0 }}", "expected a template of `question`; division by zero"),
        ("{% include 'other' %}", "expected a template of `question`; no loader for this environment specified"),
        ("{{ question }} {{ lipsum() }}", "expected a template of `question`; 'lipsum' is undefined"),
        ("{{ question | random }}", "expected a template of `question`; line 1: No filter named 'random'"),
        ("Answer!", "expected a template that tells the question: {{ question }}"),
        (" \n", "expected a Jinja template of at most 65,536 bytes in "),
    ],
)
def test_a_mistaken_template_is_one_line_when_the_file_is_read(tmp_path: Path, template: str, expected: str) -> None:
    (tmp_path / "mine.j2").write_text(template)
    with pytest.raises(UserError) as error:
        loaded(tmp_path, "{template: mine.j2}")
    told = f"{tmp_path / 'experiments' / 'small.yaml'}: models.policy.format.template: {expected}"
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_a_template_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"template: expected a file with a Jinja template, found something else at "):
        loaded(tmp_path, "{template: pipe}")


@pytest.mark.parametrize(
    ("shots", "expected"),
    [
        ("[]", "expected a YAML file with worked examples in "),
        ("examples: []", "expected the one key shots, a list, in "),
        ("shots: [3]", "expected question and response in "),
        ("shots: [{question: one, answer: 2}]", "expected question and response in "),
        ("shots: [{question: one, response: 2}]", "expected texts for question and response in "),
        ("shots: [{question: one, response: ''}]", "expected texts for question and response in "),
    ],
)
def test_mistaken_examples_are_one_line_when_the_file_is_read(tmp_path: Path, shots: str, expected: str) -> None:
    (tmp_path / "mine.yaml").write_text(shots)
    with pytest.raises(UserError) as error:
        loaded(tmp_path, "{shots: mine.yaml}")
    assert f"small.yaml: models.policy.format.shots: {expected}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("cot", "models.policy.format.kind: 'cot' is not known; expected one of code_steps, chain"),
        ("tools", "models.policy.format.kind: 'tools' is not known; expected one of code_steps, chain"),
        ("{kind: chain, answer: [boxd]}", "models.policy.format.answer.1: 'boxd' is not known (did you mean boxed?)"),
        ("{kind: chain, shot: x}", "models.policy.format.shot: there is no such key (did you mean shots?)"),
        ("{template: nowhere.j2}", "models.policy.format.template: expected a file with a Jinja template; "),
        ("{template: experiments}", "models.policy.format.template: expected a file with a Jinja template; "),
        ("{stop: ['print(']}", "models.policy.format.stop.1: expected what stands in no program"),
        ("{stop: ['']}", "models.policy.format.stop.1: expected text, found ''"),
    ],
)
def test_a_mistaken_section_is_one_line(tmp_path: Path, said: str, expected: str) -> None:
    with pytest.raises(UserError) as error:
        loaded(tmp_path, said)
    assert f"small.yaml: {expected}" in str(error.value)
