"""`reasoning-gym`: procedural questions of a hundred kinds, each graded by its data set's own scorer (kind `gym`).

As many questions as are asked for, of a seed; another seed asks others. Questions are made in a process whose hashes of
texts are fixed, because some data sets walk through sets: the same settings give the same questions everywhere. A
question that is drawn twice counts once.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, Strict, model_validator

from perseid.errors import UserError, printable
from perseid.mistakes import mistake
from perseid.problems import source
from perseid.problems.files import is_text
from perseid.problems.mapping import digest_of
from perseid.problems.problem import Gold, Item, Problem
from perseid.problems.rows import checked_name, listed
from perseid.problems.source import Found, Read, seed_of
from perseid.section import DISCRIMINATOR

SCRIPT: Final = Path(__file__).with_name("entries.py")
KIND: Final = "gym"


class Settings(source.Settings):
    """One data set with its own settings, or several with theirs at their defaults."""

    source: Annotated[Literal["gym"], DISCRIMINATOR] = "gym"
    name: Annotated[str, AfterValidator(checked_name)] = ""  # what its problems are called by; "": gym
    data_sets: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...],
        Strict(False),
        BeforeValidator(listed),
        Field(min_length=1, max_length=200),
    ]
    config: dict[str, Any] = {}  # of the one data set
    problems: Annotated[int, Field(ge=1, le=1_000_000)]  # questions of each data set
    seed: int = Field(0, ge=0, le=2**31 - 1)  # of the questions: another one for what is held out

    @model_validator(mode="after")
    def _config_of_one(self) -> "Settings":
        if self.config and len(self.data_sets) > 1:
            raise mistake("config", "expected one data set beside it: the others have other settings")
        return self

    @property
    def called(self) -> str:
        return self.name or self.source

    def key(self, root: Path) -> str:
        return f"reasoning-gym {version('reasoning-gym')}"

    def kinds(self) -> frozenset[str]:
        return frozenset([KIND])

    def facets_told(self) -> frozenset[str]:
        return frozenset(["data_set"])

    def opened(self, seed: int, root: Path) -> "Gym":
        return Gym(self)

    def unreadable(self, root: Path) -> Found | None:
        for position, name in enumerate(self.data_sets, 1):
            if fault := _fault(name, json.dumps(self.config, sort_keys=True)):
                key, expected = fault
                return (f"data_sets.{position}" if key == "data_set" else key), expected
        return None


SETTINGS = Settings


@dataclass(frozen=True)
class Gym:
    """Its questions, as they are asked for."""

    settings: Settings

    @property
    def name(self) -> str:
        return self.settings.called

    def read(self, told: str = "") -> Iterator[Read]:
        for data_set in self.settings.data_sets:
            config, number = self.settings.config, self.settings.problems
            # An item's own seed is its data set's plus its number: data sets need seeds that are far apart.
            seed = seed_of("gym", self.settings.seed, data_set) % 2**31
            for line, entry in enumerate(entries(data_set, config, seed, number), 1):
                item = self.item(data_set, entry)
                fault = "" if is_text(item.problem.question) else "the question is no text in UTF-8"
                asked = data_set if told == "data_set" else ""
                yield Read(data_set, line, None if fault else item, asked, fault, f"={entry['answer']}")

    def item(self, data_set: str, entry: dict[str, Any]) -> Item:
        question = str(entry["question"])
        problem_id = f"{self.name}-{digest_of(f'{data_set} {question}')}"
        gold: JsonValue = {"data_set": data_set, "config": self.settings.config, "entry": entry}
        return Item(Problem(problem_id, self.name, KIND, question), Gold(problem_id, gold), {"data_set": data_set})


def entries(data_set: str, config: dict[str, Any], seed: int, size: int) -> Iterator[dict[str, Any]]:
    """Entries of reasoning-gym, as JSON has them. Raises `UserError` for what it does not take."""
    wanted = json.dumps({"data_set": data_set, "config": config, "seed": seed, "size": size})
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command: Sequence[str] = [sys.executable, "-P", str(SCRIPT), wanted]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as making:
        try:
            assert making.stdout is not None
            found = 0
            for line in making.stdout:
                entry = json.loads(line)
                if "fault" in entry:
                    raise UserError(f"gym {data_set}", entry["fault"], entry["expected"])
                found += 1
                yield entry
            if found < size:
                told = f"expected {size:,} questions, found {found:,} before the process that makes them ended"
                raise UserError(f"gym {data_set}", "", told)
        finally:
            making.kill()


@lru_cache(maxsize=1024)
def _fault(data_set: str, config: str) -> Found | None:
    """What is wrong with a data set or its settings; None where it makes a question."""
    try:
        for _ in entries(data_set, json.loads(config), 0, 1):
            pass
    except UserError as error:
        return error.key or "data_set", printable(error.expected)
    return None
