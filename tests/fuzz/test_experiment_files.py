"""Mistaken experiment files: whatever is changed, a file unrolls its plan or is one line with its name, at once."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.graph import unroll
from perseid.errors import UserError
from perseid.experiment import load_experiment

ROOT = Path(__file__).resolve().parents[2]
OWN = """
name: own
problems:
  train:
    - {source: jsonl, path: tests/fuzz/sums.jsonl, kind: number, gold_after: "####", columns: {facets: [level]}}
    - source: jsonl
      path: [tests/fuzz/s*.jsonl]
      name: again
      kind: near
      columns: {facets: [level]}
      template: "{{ question }} Think of level {{ level }}."
      on_bad_row: drop
  held_out: {problems: 10, by: level, seed: 3}
  pool: {problems: 5, again: true}
models:
  policy:
    base: pretrained
    from: nowhere/at-all
    revision: main
    chat_template: own
    dtype: bfloat16
    context: 512
    lora: {rank: 8, alpha: 16, targets: [q_proj], dropout: 0.1}
engine: {kind: vllm, context: 512, tensor_parallel: 2, step_tokens: 4096}
training: {policy: {epochs: 2, batch: 12, accumulation: 3, precision: bfloat16, schedule: linear, warm_up: 0.1}}
graders: {near: {python: tests/fuzz/near.py, timeout_s: 5, right_from: 0.5}}
rounds: [{}, {pool: {problems: 7}}]
"""
TEXTS = [(ROOT / "experiments" / f"{name}.yaml").read_text() for name in ("smoke", "quickstart", "smoke_rejection")] + [
    OWN
]
SLOWEST_S = 2.0  # of this process's own time, so that a busy machine changes nothing
FEW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
MANY = settings(deadline=None, max_examples=1000, suppress_health_check=list(HealthCheck))

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "gcd", "lmc", "yes", "server", "http://a:1/v1", "http://me:pw@a", "\x1b[31m", "a" * 5000, "∞"]
    ),
)
names = st.text(max_size=8) | st.sampled_from(["kind", "ppm", "flat", "method"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
marks = [
    "\t",
    "\0",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    ": ",
    "- ",
    "[",
    "{",
    "'",
    '"',
    "!!set ",
    "!!python/name:os.system ",
    "\\",
]
marks += ["---\n", "...\n", "%YAML 9.9\n", "|\n", "\r", "#", "1e999", "\x85", "\ufeff", "\u2028"]
junk = st.sampled_from([mark.encode() for mark in marks] + [b"\xff\xfe", b"\xc3"]) | st.binary(max_size=6)
numbers = st.sampled_from([0, 1, 2, 63, 10**3, 10**5, 10**6, 10**9, 2**63, -1, 0.5, 1e-9, 1e300])


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside `value`."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, item in inside for place in places(item, (*above, key)))]


@st.composite
def other_values(draw: st.DrawFn) -> bytes:
    """A file in which some values, keys or places are others."""
    whole = yaml.safe_load(draw(st.sampled_from(TEXTS)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from([place for place in places(whole) if place]))
        holder: Any = whole
        for key in place[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["value", "number", "key", "gone", "nested", "moved"]))
        if change == "value":
            holder[place[-1]] = draw(values)
        elif change == "number":
            holder[place[-1]] = draw(numbers)
        elif change == "nested":
            holder[place[-1]] = [{"method": holder[place[-1]]}]
        elif isinstance(holder, dict):
            value = holder.pop(place[-1])
            if change == "key":
                holder[draw(st.text(max_size=6)) or f"{place[-1]}s"] = value
            elif change == "moved":
                whole[str(place[-1])] = value
    return yaml.safe_dump(whole, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans())).encode()


@st.composite
def other_bytes(draw: st.DrawFn) -> bytes:
    """A file with something written into it, cut out of it, or written twice."""
    content = draw(st.sampled_from(TEXTS)).encode()
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(content))), draw(st.sampled_from([0, 0, 1, 10, 100]))
        part = content[at : at + length]
        times = draw(st.sampled_from([1, 1, 2, 50, 5000]))
        content = content[:at] + draw(junk | st.just(part)) * times + content[at + length :]
    return draw(st.sampled_from([content] * 6 + [content.decode("utf-8", "replace").encode("utf-16")]))


def holds(path: Path, content: bytes) -> None:
    """It unrolls its plan, or is one line that names the file; within seconds either way."""
    path.write_bytes(content)
    started = time.process_time()
    try:
        graph = unroll(load_experiment(path))
        assert len(graph) > 3
    except UserError as error:
        line = str(error)
        assert line.startswith(f"{path}: ")
        assert line.isprintable()
        assert len(line) < 1000
        assert "pw@" not in line
    assert time.process_time() - started < SLOWEST_S


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "mutant.yaml"


@FEW
@given(other_values())
def test_other_values_keys_and_places(path: Path, content: bytes) -> None:
    holds(path, content)


@FEW
@given(other_bytes())
def test_other_bytes(path: Path, content: bytes) -> None:
    holds(path, content)


@pytest.mark.slow
@MANY
@given(other_values() | other_bytes())
def test_many_more_of_both(path: Path, content: bytes) -> None:
    holds(path, content)


@pytest.mark.parametrize(
    "command", ["evolve", *(pytest.param(name, marks=pytest.mark.slow) for name in ("status", "promote", "rollback"))]
)
def test_every_command_says_it_in_one_line_with_status_2(tmp_path: Path, command: str) -> None:
    path, root = tmp_path / "mutant.yaml", tmp_path / "root"
    root.mkdir()
    path.write_text(TEXTS[0].replace("rollouts:", "rolouts:", 1))
    words = [command, str(path), *(["1"] if command == "promote" else []), "--root", str(root)]
    done = subprocess.run(
        [sys.executable, "-m", "orchestration", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(
        f"error: {path}: method.rolouts: there is no such key (did you mean rollouts?); expected one of"
    )
