"""A JSON object a line: the usual form of a file of problems."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from perseid.errors import printable
from perseid.problems.files import lines_of, shown
from perseid.problems.rows import FileSettings, Row
from perseid.section import DISCRIMINATOR


class Settings(FileSettings):
    source: Annotated[Literal["jsonl"], DISCRIMINATOR] = "jsonl"

    def rows(self, root: Path, only: Collection[str] | None = None) -> Iterator[Row]:
        for file in self.files(root):
            name = shown(file, root)
            for number, line in lines_of(file):
                value, fault = parsed(line)
                yield Row(name, number, None if fault else value, fault)


SETTINGS = Settings


def parsed(text: str) -> tuple[Any, str]:
    """The object that a text is, and what is wrong with it."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return None, f"expected a JSON object: {printable(str(error), 120)}"
    if not isinstance(value, dict):
        return None, f"expected a JSON object, found {type(value).__name__}"
    return value, ""


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
