"""Files of problems as they come, and what is made of them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from perseid.problems.making import Before, First, drawn, first
from perseid.problems.problem import Item
from perseid.problems.settings import Problems
from perseid.problems.splits import normal

SUMS = [{"id": n, "question": f"{n} + {n}?", "answer": str(2 * n), "level": n % 3} for n in range(1, 31)]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """`write(name, rows or text or bytes)`: a file of problems, by its name."""

    def written(name: str, content: Sequence[Any] | str | bytes) -> str:
        if not isinstance(content, str | bytes):
            content = "".join(f"{json.dumps(row)}\n" for row in content)
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return written


def section(source: dict[str, Any], **more: Any) -> Problems:
    """Of one source of numbers, a fifth held out unless it says otherwise."""
    return Problems.model_validate({"train": [{"kind": "number", **source}], "held_out": {"share": 0.2}, **more})


def everything(problems: Problems, root: Path) -> list[Item]:
    """All problems of a section, in order of their questions' hashes: what is held out, and what is left."""
    found = first(problems, 0, root)
    return [*found.held_out, *drawn(problems, 0, root, 1, before(found))]


def before(found: First, *searched: list[Item]) -> Before:
    """What a pool is drawn after, some pools having been searched."""
    names = [item.problem.problem_id for pool in searched for item in pool]
    times = {name: names.count(name) for name in names}
    skipped = frozenset(one.row for one in found.skipped.get("train", ()))
    return Before((), times, frozenset(map(normal, found.held_out)), skipped)
