"""`new` writes an experiment that runs as it is, and says of every key what it means."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.template import TEMPLATE, write
from perseid.checkpoints import Pretrained, TinyLlama
from perseid.engines import Server, Transformers, Vllm
from perseid.errors import UserError
from perseid.experiment import Experiment, Round, load_experiment
from perseid.formats import chain, code_steps, tools
from perseid.methods import FILES
from perseid.mistakes import section_in
from perseid.problems.making import first
from perseid.problems.sources.tools import Pool, Settings
from perseid.section import Section

LINE = re.compile(r"(?P<indent> *)(?:# )?(?P<key>[a-z_0-9]+): ?(?P<value>[^#]*)(?P<meaning># .+)?")
KINDS: dict[str, tuple[type[Section], ...]] = {
    "method": tuple(file.Settings for file in FILES.values()),
    "engine": (Transformers, Vllm, Server),
    "models.policy": (TinyLlama, Pretrained),
    "format": (tools.Settings, code_steps.Settings, chain.Settings),  # of a policy
}
OTHERWISE = {
    "name",
    "control",
    "control.kind",
    "method.max_step_tokens",
    "rounds",
    "engine.endpoints",
    "models.policy.from",
}


def keys(section: type[Section] = Experiment, above: str = "") -> Iterator[str]:
    """Every key of every section, dotted; the engine's of all kinds."""
    for name, field in section.model_fields.items():
        yield above + name
        if kinds := KINDS.get(above + name):
            yield from {f"{above}{name}.{key}" for kind in kinds for key in keys(kind)}
        elif name == "train":  # the template's source
            yield from keys(Settings, f"{above}train.")
        elif name == "pool" and section is not Round:
            yield from keys(Pool, f"{above}pool.")
        elif inner := section_in(field.annotation):
            yield from keys(inner, f"{above}{name}.")


def told() -> dict[str, str]:
    """The keys that stand in the template, dotted, with their meaning; a key may stand in a comment."""
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []  # the keys that a line stands under, each with its indent
    for line in TEMPLATE.read_text().splitlines():
        match = LINE.fullmatch(line.replace("    - ", "      ", 1))  # what stands in a list stands under its key
        if match and not line.startswith("#"):
            indent = len(match["indent"])
            above = [*(one for one in above if one[0] < indent), (indent, match["key"])]
            found[".".join(key for _, key in above)] = match["meaning"] or ""
    return found


def test_every_key_of_every_section_stands_there_with_its_meaning() -> None:
    assert sorted(told()) == sorted(keys())
    assert [key for key, meaning in told().items() if len(meaning) < 8] == []


def test_what_it_sets_is_the_default_unless_it_says_otherwise(tmp_path: Path) -> None:
    minimal = tmp_path / "minimal.yaml"
    tools = "{source: tools, demonstrated: [gcd], undemonstrated: [lcm]}"
    minimal.write_text(f"name: mine\nproblems: {{train: [{tools}]}}\nrounds: [{{}}]\n")
    written, default = load_experiment(write("mine", tmp_path)), load_experiment(minimal)
    differ = {key for key in keys() if key not in OTHERWISE and at(written, key) != at(default, key)}
    assert differ == {
        "problems",
        "problems.train",
        "problems.train.demonstrated",
        "problems.train.undemonstrated",
        "method",
    }


def at(section: object, key: str) -> object:
    for name in key.split("."):
        section = getattr(section[0] if isinstance(section, tuple) and section else section, name, None)
    return section


def test_a_new_experiment_loads_under_its_name_and_its_problems_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = load_experiment(write("mine", tmp_path))
    assert experiment.name == "mine"
    assert set(Experiment.model_fields) == experiment.model_fields_set
    found = first(experiment.problems, experiment.seed, experiment.root)
    assert len(found.held_out) + len(found.shown) > 100
    assert caplog.messages == []


def test_the_keys_of_a_pretrained_policy_that_stand_in_comments_are_taken(tmp_path: Path) -> None:
    path = write("mine", tmp_path)
    own = re.sub(
        r"^    ((?:  )?)# (.*# pretrained\b|(?:rank|alpha|targets|dropout):)", r"    \1\2", path.read_text(), flags=re.M
    )
    tiny = r"^    (hidden_size|layers|heads|vocab_size):.*\n"
    text = re.sub(tiny, "", own, flags=re.M).replace("kind: tools", "kind: code_steps")
    path.write_text(text.replace("base: tiny_llama", "base: pretrained"))
    policy = load_experiment(path).models.policy
    assert policy.model_fields_set == set(Pretrained.model_fields)
    assert policy.format.model_fields_set == set(type(policy.format).model_fields)
    assert policy.lora is not None
    assert policy.lora.model_fields_set == set(type(policy.lora).model_fields)


def test_the_keys_of_the_other_engines_that_stand_in_comments_are_taken(tmp_path: Path) -> None:
    text = write("mine", tmp_path).read_text()
    for kind in ("vllm", "server"):
        path = tmp_path / f"{kind}.yaml"
        own = re.sub(rf"^  # (.*# {kind}\b)", r"  \1", text, flags=re.MULTILINE)
        path.write_text(own.replace("kind: transformers", f"kind: {kind}"))
        engine = load_experiment(path).engine
        assert engine.model_fields_set == set(type(engine).model_fields)


@pytest.mark.parametrize("name", ["", "Mine", "9x", "a b", "../x", "x" * 64, "current", "a__b", "abcdef0123456789"])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="expected "):
        write(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    path = write("mine", tmp_path)
    path.write_text("my work")
    with pytest.raises(UserError, match="exists already"):
        write("mine", tmp_path)
    assert path.read_text() == "my work"
