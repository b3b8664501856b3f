"""Reading YAML: what its scalars mean, and that every mistake is one line, at once."""

import os
import socket
import time
from pathlib import Path

import pytest

from perseid.document import MAX_BYTES, MAX_NODES, read
from perseid.errors import UserError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(path: Path) -> str:
    """The one line, without the path before it."""
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        read(path)
    assert time.monotonic() - started < 10.0
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def of(folder: Path, content: str | bytes) -> Path:
    path = folder / "x.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("3.0e-3", 3e-3),
        ("1.", 1.0),
        ("-.5", -0.5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("-7", -7),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2020-01-01", "2020-01-01"),
        ("'4'", "4"),
        ("!!str 4", "4"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_scalars_mean_what_the_core_schema_of_yaml_says(tmp_path: Path, text: str, value: object) -> None:
    found = read(of(tmp_path, f"key: {text}\n"))["key"]
    assert (found, type(found)) == (value, type(value))


def test_aliases_and_merges_are_values_of_their_own(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{y: 4}, *a]}\n"
    assert read(of(tmp_path, text)) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1, "y": 3},
        "d": {"x": 1, "y": 4},
    }


def test_a_byte_order_mark_and_other_line_ends_are_read_over(tmp_path: Path) -> None:
    assert read(of(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "b.c: expected once, found in line 3 and again in line 5"),
        ("a: 1\na: 1\n", "a: expected once, found in line 1 and again in line 2"),
        ("a: [{b: 1, b: 2}]", "a.1.b: expected once, found in line 1 and again in line 1"),
        ("1: a", "line 1: expected a key that is text, found 1"),
        ("true: a", "line 1: expected a key that is text, found true"),
        ("~: a", "line 1: expected a key that is text, found ~"),
        ("? \n: a", "line 1: expected a key that is text, found nothing"),
        ("? [a]\n: b", "line 1: expected a key that is text, found a list or keys"),
        ("a:\n\tb: 1", "line 2: expected YAML: found character '\\t' that cannot start any token; indent with spaces"),
        ("a: [", "line 1: expected YAML: expected the node content, but found '<stream end>'"),
        ("a: *b", "line 1: expected YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 1", "line 2: expected YAML: but found another document"),
        ("a: b\0", "line 1: expected YAML: the character U+0000 is not allowed"),
        ("a: 1\nb: \x1b[31m", "line 2: expected YAML: the character U+001B is not allowed"),
        ('a: "\\ud800"', "line 1: expected text, found an escape that is no character"),
        ('a: "\\0"', "line 1: expected text, found an escape that is no character"),
        ('a: "\\UFFFFFFFF"', "expected YAML: an escape in double quotes names no character"),
        ("a: !!python/name:os.system x", "line 1: expected plain YAML, found the tag !!python/name:os.system"),
        ("a: !!set {x}", "line 1: expected plain YAML, found the tag !!set"),
        ("a: !!int x", "a: expected a number, found x"),
        ("a: {<<: 3}", "a.<<: expected an alias of keys and their values"),
        ("", "expected keys and their values, found an empty file"),
        ("- a", "expected keys and their values, found a list"),
        ("words", "expected keys and their values, found a single value"),
        ("a: " + "9" * 5000, "a: expected a number, found " + "9" * 60 + "…"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_line_or_the_key(tmp_path: Path, text: str, message: str) -> None:
    assert refused(of(tmp_path, text)) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xe9\n", "line 2: expected UTF-8, found the byte 0xe9"),
        ("a: 1\n".encode("utf-16"), "line 1: expected UTF-8, found the byte 0xff"),
    ],
)
def test_another_encoding_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    assert refused(of(tmp_path, content)) == message


@pytest.mark.parametrize(
    "text",
    [BOMB, "".join(f"k{i}: 1\n" for i in range(7000)), "a: [" + "1," * 30_000 + "]"],
    ids=["bomb", "many keys", "long list"],
)
def test_more_values_than_an_experiment_has_are_refused(tmp_path: Path, text: str) -> None:
    assert refused(of(tmp_path, text)).startswith(f"expected at most {MAX_NODES:,} values, aliases counted")


@pytest.mark.parametrize(
    "text",
    [
        f"a: {'[' * 30_000}",
        "- " * 30_000,
        "{a: " * 10_000,
        "? " * 20_000,
        "a: &a [*a]",
        "a: &a {b: *a}",
        "a: &a {<<: *a}",
    ],
)
def test_nesting_without_end_is_refused(tmp_path: Path, text: str) -> None:
    assert refused(of(tmp_path, text)) == "expected at most 16 levels of keys and lists inside each other"


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    assert refused(of(tmp_path, "#" * (MAX_BYTES + 1))) == "expected an experiment file of at most 64 KiB"


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.yaml"))
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    assert refused(tmp_path / "pipe.yaml") == "expected an experiment file, found a pipe"
    assert refused(tmp_path / "socket.yaml") == "expected an experiment file, found a device or socket"
    assert refused(Path("/dev/zero")) == "expected an experiment file, found a device or socket"
    assert refused(tmp_path) == "expected an experiment file, found a folder"
    assert refused(tmp_path / "loop.yaml").startswith("cannot be read (Too many levels of symbolic links)")
    assert refused(tmp_path / "none.yaml") == "cannot be read (No such file or directory); expected an experiment file"
    assert refused(tmp_path / ("x" * 300)).startswith("cannot be read (File name too long)")
    assert refused(Path("a\0b")) == "expected the path of an experiment file"
