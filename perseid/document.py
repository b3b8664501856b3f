"""A YAML document as plain values: mappings, lists, text, numbers, true, false, null; and nothing that surprises.

Scalars mean what YAML 1.2's core schema says: `1e-3` is a number, `yes` and `1:30` are text, `010` is ten. A key stands
once, is text, and duplicates are named with both lines. What is read is bounded before it is expanded: bytes, nodes
(aliases counted as often as they are used) and nesting, so that no document takes longer than a moment.
"""

import os
import re
import stat
from pathlib import Path
from typing import Any, Final

import yaml

from perseid.errors import UserError

MAX_BYTES: Final = 64 * 1024  # the quickstart's file has 3 KiB
MAX_NODES: Final = 10_000
MAX_DEPTH: Final = 16  # an experiment nests five deep
TAG: Final = "tag:yaml.org,2002:"
MERGE: Final = "<<"


class _Loader(yaml.SafeLoader):
    """Composes nodes, bounded; its resolvers are the core schema's."""

    yaml_implicit_resolvers: dict[str, Any] = {}
    depth = nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        _bounded(self.nodes, self.depth)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


for name, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", list("-+.")),
):
    _Loader.add_implicit_resolver(TAG + name, re.compile(rf"(?:{pattern})\Z"), first)


class _Mistake(Exception):
    """Of the document's author: where and what."""

    def __init__(self, key: str, expected: str) -> None:
        self.key, self.expected = key, expected


def read(path: Path) -> dict[str, Any]:
    """The mapping that the file holds. Raises `UserError` naming the file, line or key, and what was expected."""
    try:
        return _mapping_of(_text(_bytes(path)))
    except _Mistake as mistake:
        raise UserError(path, mistake.key, mistake.expected) from None


def _bytes(path: Path) -> bytes:
    """Of a regular file alone: a device or a pipe may have no end, or no beginning."""
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                content = file.read(MAX_BYTES + 1) or b""  # None of what would have to be waited for
        else:
            raise _Mistake("", f"expected an experiment file, found a {_kind(path)}")
    except OSError as error:
        raise _Mistake("", f"cannot be read ({error.strerror}); expected an experiment file") from None
    except ValueError:
        raise _Mistake("", "expected the path of an experiment file") from None
    if len(content) > MAX_BYTES:
        raise _Mistake("", f"expected an experiment file of at most {MAX_BYTES // 1024} KiB")
    return content


def _kind(path: Path) -> str:
    mode = os.stat(path).st_mode
    return "folder" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "device or socket"


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Mistake(f"line {line}", f"expected UTF-8, found the byte {content[error.start]:#04x}") from None


def _mapping_of(text: str) -> dict[str, Any]:
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Mistake(f"line {line}", f"expected YAML: the character U+{error.character:04X} is not allowed") from None
    except yaml.MarkedYAMLError as error:
        raise _Mistake(*_where_and_why(error)) from None
    except (ValueError, OverflowError):  # the scanner's own, of an escape such as \UFFFFFFFF
        raise _Mistake("", "expected YAML: an escape in double quotes names no character") from None
    finally:
        if loader is not None:
            loader.dispose()
    if isinstance(node, yaml.MappingNode):
        return _Values().mapping(node, (), 1)
    found = "an empty file" if node is None else "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
    raise _Mistake("", f"expected keys and their values, found {found}")


def _where_and_why(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}" if mark else ""
    why = f"expected YAML: {printable(error.problem or error.context or 'not understood')}"
    return where, why + ("; indent with spaces" if "'\\t'" in why else "")


class _Values:
    """Values from nodes, every use of an alias counted."""

    def __init__(self) -> None:
        self.nodes = 0

    def value(self, node: yaml.Node, path: tuple[str, ...], depth: int) -> Any:
        self.nodes += 1
        _bounded(self.nodes, depth)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            _plain(node, "seq")
            return [self.value(item, (*path, str(i)), depth + 1) for i, item in enumerate(node.value, 1)]
        return _scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...], depth: int) -> dict[str, Any]:
        _plain(node, "map")
        lines: dict[str, int] = {}
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = _key(key_node, path), key_node.start_mark.line + 1
            inside = (*path, printable(key))
            if key in lines:
                raise _Mistake(".".join(inside), f"expected once, found in line {lines[key]} and again in line {line}")
            lines[key] = line
            value = self.value(value_node, inside, depth + 1)
            if key == MERGE:
                merged = _merged(value, inside)
            else:
                own[key] = value
        return {**merged, **own}


def _merged(value: Any, path: tuple[str, ...]) -> dict[str, Any]:
    """What `<<` brings: a mapping, or several, of which the first counts most."""
    sources = value if isinstance(value, list) else [value]
    if not all(isinstance(source, dict) for source in sources):
        raise _Mistake(".".join(path), "expected an alias of keys and their values")
    return {key: item for source in reversed(sources) for key, item in source.items()}


def _key(node: yaml.Node, path: tuple[str, ...]) -> str:
    key = _scalar(node, path) if isinstance(node, yaml.ScalarNode) else None
    if isinstance(key, str):
        return key
    found = printable(node.value) or "nothing" if isinstance(node, yaml.ScalarNode) else "a list or keys"
    raise _Mistake(f"line {node.start_mark.line + 1}", f"expected a key that is text, found {found}")


def _scalar(node: yaml.Node, path: tuple[str, ...]) -> Any:
    kind, text = node.tag.removeprefix(TAG), node.value
    if kind == "str":
        return _unicode(text, node)
    if kind == "null":
        return None
    try:
        if kind == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if kind == "int":
            return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
        if kind == "float":
            return float(re.sub(r"\.(?=[iIn])", "", text))
    except ValueError:
        raise _Mistake(".".join(path), f"expected a number, found {printable(text)}") from None
    raise _tagged(node)


def _unicode(text: str, node: yaml.Node) -> str:
    if any("\ud800" <= character <= "\udfff" or character == "\0" for character in text):
        raise _Mistake(f"line {node.start_mark.line + 1}", "expected text, found an escape that is no character")
    return text


def _plain(node: yaml.Node, kind: str) -> None:
    if node.tag != TAG + kind:
        raise _tagged(node)


def _tagged(node: yaml.Node) -> _Mistake:
    tag = printable(node.tag.replace(TAG, "!!"))
    return _Mistake(f"line {node.start_mark.line + 1}", f"expected plain YAML, found the tag {tag}")


def _bounded(nodes: int, depth: int) -> None:
    if nodes > MAX_NODES:
        raise _Mistake("", f"expected at most {MAX_NODES:,} values, aliases counted as often as they are used")
    if depth > MAX_DEPTH:
        raise _Mistake("", f"expected at most {MAX_DEPTH} levels of keys and lists inside each other")


def printable(text: str, most: int = 60) -> str:
    """One short line that a terminal shows as it is."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: most + 1])
    return shown if len(text) <= most else shown[:most] + "…"
