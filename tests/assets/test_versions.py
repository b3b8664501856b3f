"""A version is what was read and what decides the result: every field of every section, and every key that is used."""

import json
import os
import types
from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from assets import keys
from assets.graph import maker, unroll
from perseid.checkpoints import TinyLlama
from perseid.engines import Server, Transformers, Vllm
from perseid.experiment import Experiment, Training
from perseid.formats import TOOLS
from perseid.graders import kinds
from perseid.methods import flat, rstar_math
from perseid.problems.settings import Problems
from perseid.problems.sources.tools import Pool, Settings, families
from perseid.problems.sources.tools import versions as of_tools
from perseid.sandbox import sandbox
from perseid.search import kernel
from perseid.section import Section

GOLDEN = Path(__file__).with_name("defaults.json")
FILE: dict[str, Any] = {
    "name": "x",
    "problems": {"train": [{"source": "tools", "demonstrated": ["gcd", "products"], "undemonstrated": ["lcm"]}]},
    "control": {},
    "training": {"bootstrap": {"steps": 250, "learning_rate": 3e-3}},
    "rounds": [{}, {"method": {"ppm": True}}],
}
REJECTION = {**FILE, "recipe": "rejection", "control": {"kind": "unverified"}, "rounds": [{}, {}]}
REJECTION["method"] = {"kind": "rstar_math"}  # so that both have the same keys
EITHER = pytest.mark.parametrize("file", [FILE, REJECTION], ids=["rstar_math", "rejection"])
TRAINED = {"bootstrap", "policy", "control", "ppm"}
GENERATED = {"trajectories", "evaluation", "first evaluation"}
# What a change of the field makes stale by itself; what reads that is stale by its inputs. The longest path counts.
STALE: dict[str, set[str]] = {
    "name": set(),
    "description": set(),
    "seed": {"problems", "pool", *TRAINED, *GENERATED},
    "method": {"trajectories"},
    "problems": {"problems", "pool"},
    "problems.train.1.undemonstrated": {"problems", "pool", "verified", *GENERATED},  # its answers are of another kind
    "problems.pool": {"pool"},
    "models.policy": {"bootstrap"},
    "engine": GENERATED,
    "engine.batch": {"ppm", *GENERATED},
    "engine.threads": {*TRAINED, *GENERATED},
    "engine.dtype": {"ppm", *GENERATED},
    "engine.live_trees": set(),
    "selection.top": {"verified"},
    "selection.grounded": {"verified"},
    "selection.balance": {"verified"},
    "selection.pairs": {"pairs"},
    "training.bootstrap": {"bootstrap"},
    "training.policy": {"policy", "control"},
    "training.policy.verified_weight": {"policy"},
    "training.policy.history": set(),  # it decides the inputs, and stands there
    "training.ppm": {"ppm"},
    "training.ppm.history": set(),
    "evaluation": {"evaluation", "first evaluation"},
    "evaluation.fresh_instances": {"evaluation"},
    "gate": set(),
    "graders": set(),  # one that no problem needs
    "shards": {"trajectories"},
}
# The same of the arm that nobody verified, where there is one.
UNVERIFIED: dict[str, set[str]] = {
    "seed": {"unverified"},
    "selection.top": {"unverified"},
    "training.policy.verified_weight": {"control"},
    "format": {"unverified"},
}
# Fields that engines of another kind than the default have. Whatever the kind, this process trains and scores pairs.
ELSEWHERE: dict[str, set[str]] = {
    "vllm.batch": {"ppm"},
    "vllm.threads": TRAINED,
    "vllm.live_trees": set(),
    "vllm.dtype": GENERATED,
    "vllm.context": GENERATED,
    "vllm.tensor_parallel": set(),
    "vllm.step_tokens": set(),
    "vllm.memory_gib": set(),
    "vllm.memory_share": set(),
    "server.endpoints": set(),
    "server.model": GENERATED,
    "server.batch": {"ppm"},
    "server.threads": TRAINED,
    "server.live_trees": set(),
    "server.timeout_s": set(),
    "server.patience_s": set(),
}
GRAPH = ("rounds", "recipe", "control", "kind", "base", "source", "metric")  # of the graph, or one value alone
DEFAULTS = {
    "engine": Transformers,
    "models.policy": TinyLlama,
    "method": rstar_math.Settings,
}  # where there are kinds, the one that a file need not name
OTHER = {"problems.train.1.demonstrated": ["gcd"]}
OTHER |= {
    "problems.train.1.undemonstrated": ["lcm", "weekday"],
    "problems.train.1.demonstrated_compositions": ["double"],
}
OTHER |= {"problems.train.1.undemonstrated_compositions": ["square"]}
OTHER |= {
    "graders": {"mine": {"python": "grade.py"}},
    "models.policy.hidden_size": 136,
    "evaluation.confidence": 0.5,
    "gate.confidence": 0.5,
    "name": "y",
}


def versions(file: dict[str, Any]) -> dict[str, set[str]]:
    """Code versions by maker; the evaluation of round 0 apart, because nothing is verified before it."""
    found: dict[str, set[str]] = {}
    for node in unroll(Experiment.model_validate(file)).values():
        first = node.does == "evaluation" and node.round == 0
        found.setdefault("first evaluation" if first else node.does, set()).add(node.code_version)
    return found


def changed(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    return {does for does in before if before[does] != after[does]}


def leaves(section: type[BaseModel], above: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every field that is no section itself, by dotted path."""
    for name, field in section.model_fields.items():
        inner = field.annotation
        if path := {"train": "train.1.", "pool": "pool."}.get(name) if section is Problems else None:
            yield from leaves(Settings if name == "train" else Pool, f"{above}{path}")
        elif isinstance(inner, type) and issubclass(inner, Section):
            yield from leaves(inner, f"{above}{name}.")
        elif kind := DEFAULTS.get(above + name):
            yield from leaves(kind, f"{above}{name}.")
        elif name not in GRAPH and above + name != "problems.held_out":  # sources: tests/assets/test_sources.py
            yield f"{above}{name}", field


def value_at(section: BaseModel, path: str) -> Any:
    for name in path.split("."):
        section = section[int(name) - 1] if isinstance(section, tuple) else getattr(section, name)
    return section


def another(path: str, value: Any, field: FieldInfo) -> Any:
    """A value other than `value` that the field takes too."""
    if path in OTHER:
        return OTHER[path]
    choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1 if value % 4 else value + 4  # twice the heads divide the hidden size
    return value / 2 if isinstance(value, float) and value else f"{value}x" if isinstance(value, str) else 0.5


def laid(file: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.partition(".")
    if rest.startswith("1."):  # the first of a list
        [first] = file[name]
        return {**file, name: [laid(first, rest[2:], value)]}
    return {**file, name: laid(file.get(name) or {}, rest, value) if rest else value}


def expected(path: str, table: dict[str, set[str]], makers: Set[str]) -> set[str]:
    """Of those makers."""
    parts = path.split(".")
    known = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    found = next((table[prefix] for prefix in known if prefix in table), None)
    more = UNVERIFIED.get(path, set()) if "unverified" in makers else set()
    return {f"no expectation declared for {path}"} if found is None else (found | more) & makers


@EITHER
def test_every_field_makes_stale_exactly_what_reads_it(file: dict[str, Any]) -> None:
    e, before = Experiment.model_validate(file), versions(file)
    found = {}
    for path, field in leaves(Experiment):
        value = another(path, value_at(e, path), field)
        if path.endswith(".ppm") and file is REJECTION:
            continue  # refused: nobody trains one
        found[path] = changed(before, versions(laid(file, path, value)))
    assert found == {path: expected(path, STALE, before.keys()) for path in found}
    assert len(found) > 60


@pytest.mark.parametrize(("kind", "section"), [("vllm", Vllm), ("server", Server)])
def test_every_field_of_another_engine_makes_stale_exactly_what_rests_on_it(kind: str, section: type[Section]) -> None:
    own = {"kind": kind, **({"endpoints": ["http://127.0.0.1:8000/v1"]} if kind == "server" else {})}
    file, found = {**FILE, "engine": own}, {}
    engine = section.model_validate(own)
    for name, field in section.model_fields.items():
        if name != "kind":
            more = ["http://127.0.0.1:8001/v1"]
            value = more if name == "endpoints" else another(f"engine.{name}", getattr(engine, name), field)
            found[f"{kind}.{name}"] = changed(versions(file), versions(laid(file, f"engine.{name}", value)))
    assert found == {path: expected(path, ELSEWHERE, versions(file).keys()) for path in found}


def test_another_kind_of_engine_makes_stale_what_it_generates() -> None:
    assert changed(versions(FILE), versions({**FILE, "engine": {"kind": "vllm"}})) == GENERATED


USERS = {
    "method": {"trajectories"},
    "searching": GENERATED,  # the small search of evaluations, and the method of this file
    "sampling": {"evaluation", "first evaluation"},
    "format": {"problems", "bootstrap", "policy", "control", "verified", "pairs", "ppm", *GENERATED},
    "kernel": GENERATED,
    "grader": {"verified", *GENERATED},
    "sandbox": {"verified", *GENERATED},
    "prelude": {"problems", "verified", *GENERATED},
    "sources": {"problems", "pool"},
    "redraws": {"evaluation"},
    "template": set(),  # of a pretrained base alone
}


def raise_owner(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Change the owner of a key as its author would."""
    if name == "method":
        monkeypatch.setattr(keys, "version_of", lambda section: "next")
    elif name == "searching":
        monkeypatch.setattr(rstar_math, "VERSION", "next")
    elif name == "sampling":
        monkeypatch.setattr(flat, "VERSION", "next")
    elif name == "format":
        monkeypatch.setattr(keys, "format_of", lambda settings: replace(TOOLS, version="next"))
    elif name == "kernel":
        monkeypatch.setattr(kernel, "VERSION", "next")
    elif name == "grader":
        changed = replace(kinds.COMPARING["number"], key="next")
        monkeypatch.setattr(kinds, "BUILT_IN", {**kinds.BUILT_IN, "number": changed})
    elif name == "sandbox":
        monkeypatch.setattr(sandbox, "VERSION", "next")
    elif name == "prelude":
        monkeypatch.setattr(of_tools, "toolbox_source", lambda: "next = 1")
    elif name == "redraws":
        monkeypatch.setattr(Settings, "redraws_key", lambda self, root: "next")
    elif name == "template":
        monkeypatch.setitem(cast(dict[str, object], keys.OWNERS), "template", lambda *asked: "next")
    else:
        copy = folder / "families.py"
        copy.write_text(Path(families.__file__).read_text().replace("Then double it.", "Then take it twice."))
        monkeypatch.setattr(families, "__file__", str(copy))


@EITHER
@pytest.mark.parametrize("name", sorted(keys.OWNERS))
def test_what_rests_on_an_owner_becomes_stale_with_it_and_nothing_else(
    file: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = versions(file)
    raise_owner(name, monkeypatch, tmp_path)
    asks_anew = USERS["redraws"] if name == "sources" else set()  # the same families draw both
    assert changed(before, versions(file)) == expected(name, USERS, before.keys()) | asks_anew


def test_a_pretrained_base_rests_on_its_section_and_its_template_and_lora_on_what_trains(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[0].content }}")
    policy = {"base": "pretrained", "from": "somewhere", "chat_template": str(template), "lora": {"rank": 4}}
    file = {**FILE, "models": {"policy": policy}}
    before = versions(file)
    template.write_text("Q: {{ messages[0].content }}")
    assert changed(before, versions(file)) == {"pretrained"}
    os.mkfifo(tmp_path / "pipe")  # it is refused where it is opened; to ask for a version waits for nobody
    assert versions(laid(file, "models.policy.chat_template", str(tmp_path / "pipe")))
    assert changed(before, versions(laid(file, "models.policy.dtype", "bfloat16"))) == {"pretrained"}
    assert changed(before, versions(laid(file, "models.policy.lora.rank", 8))) == {
        "pretrained",
        "policy",
        "control",
        "ppm",
    }


def test_a_grader_of_the_user_s_own_is_its_content_and_what_is_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Settings, "kinds", lambda self: frozenset({"mine"}))

    def of(path: str, content: str, **settings: Any) -> dict[str, set[str]]:
        (tmp_path / path).write_text(f"def grade(question, gold, answers):\n    return {content}\n")
        return versions({**FILE, "graders": {"mine": {"python": str(tmp_path / path), **settings}}})

    before = of("grade.py", "[1.0]")
    assert changed(before, of("elsewhere.py", "[1.0]", timeout_s=99.0)) == set()
    assert changed(before, of("grade.py", "[0.0]")) == USERS["grader"]
    assert changed(before, of("grade.py", "[1.0]", right_from=0.5)) == USERS["grader"]


def test_a_changed_example_makes_stale_what_shows_it_and_a_moved_one_nothing(tmp_path: Path) -> None:
    def asked(name: str, response: str) -> dict[str, set[str]]:
        shots = tmp_path / name
        shots.write_text(f"shots: [{{question: one, response: {response}}}]")
        policy = {"base": "pretrained", "from": "/nowhere", "format": {"kind": "code_steps", "shots": str(shots)}}
        return versions({**REJECTION, "models": {"policy": policy}})

    before = asked("a.yaml", "print(1)")
    assert changed(before, asked("b.yaml", "print(1)")) == set()
    shown = {"problems", "policy", "control", "verified", "unverified", *GENERATED}
    assert changed(before, asked("b.yaml", "print(2)")) == shown


def test_a_comment_among_the_families_changes_no_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, copy = versions(FILE), tmp_path / "families.py"
    copy.write_text(f"# a comment\n\n{Path(families.__file__).read_text()}")
    monkeypatch.setattr(families, "__file__", str(copy))
    assert versions(FILE) == before


@EITHER
def test_a_maker_whose_version_is_raised_makes_stale_its_own_alone(
    file: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = versions(file)
    for does in sorted({node.does for node in unroll(Experiment.model_validate(file)).values()}):
        with monkeypatch.context() as patch:
            patch.setattr(maker(does), "VERSION", "next")
            own = {"evaluation", "first evaluation"} if does == "evaluation" else {does}
            assert changed(before, versions(file)) == own


def defaults() -> dict[str, Any]:
    """By path: the default, as JSON holds it, and the makers that read it."""
    found = {}
    nodes = [node for file in (FILE, REJECTION) for node in unroll(Experiment.model_validate(file)).values()]
    readers: dict[str, set[tuple[str, ...]]] = {}
    for node in nodes:
        readers.setdefault(node.does, set()).add(node.reads)
    for path, field in leaves(Experiment):
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            if path.startswith("training.bootstrap."):
                value = value_at(Training(), path.removeprefix("training."))
            makers = sorted(does for does, reads in readers.items() if reads_path(reads, path))
            found[path] = {"default": json.loads(json.dumps(value)), "makers": makers}
    for section in (Vllm, Server):
        for name, field in section.model_fields.items():
            if not field.is_required():
                makers = sorted(does for does, reads in readers.items() if reads_path(reads, f"engine.{name}"))
                found[f"engine ({section.__name__}).{name}"] = {"default": field.default, "makers": makers}
    return found


def reads_path(each: Set[tuple[str, ...]], path: str) -> bool:
    """Whether a stage of a maker reads it, in one recipe at least."""
    return any(
        f"-{path}" not in reads and any(path == read or path.startswith(f"{read}.") for read in reads) for reads in each
    )


def test_a_default_that_changes_raises_the_version_of_the_makers_that_read_it() -> None:
    """Defaults are left out of versions, so a new option makes nothing stale; a changed default would go unnoticed."""
    golden, now = json.loads(GOLDEN.read_text()), defaults()
    told = [
        f"{path}: {golden[path]['default']!r} became {now[path]['default']!r}: raise VERSION of "
        + ", ".join(f"assets/{does}.py" for does in now[path]["makers"])
        for path in golden
        if path in now and golden[path]["default"] != now[path]["default"]
    ]
    written_by = "python -m tests.assets.test_versions > tests/assets/defaults.json"
    assert told == [], f"and then write the new defaults: {written_by}"
    assert now == golden, f"a field came, went or has other readers: {written_by}"


@EITHER
def test_a_module_of_a_maker_says_its_version_and_makes(file: dict[str, Any]) -> None:
    for node in unroll(Experiment.model_validate(file)).values():
        module = maker(node.does)
        assert isinstance(module, types.ModuleType)
        assert isinstance(module.VERSION, int)
        assert callable(module.make)


if __name__ == "__main__":
    print(json.dumps(defaults(), indent=1))
