"""What a source of problems is: a file in `sources/`, with its section in the experiment file and what it reads.

`Settings` is the section's base: it says what can be known from the file alone. `opened` gives what reads or draws.
Everything beyond reading is optional, and never assumed: `Brings`, `Draws`, `Redraws`, `Promises`.
"""

import hashlib
import importlib
import pkgutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from pydantic import Field, ValidationError

from perseid.mistakes import described, mistake, shown, unknown
from perseid.problems import sources
from perseid.problems.problem import Demonstration, Gold, Item, Problem
from perseid.section import DISCRIMINATOR, Section

if TYPE_CHECKING:
    import polars as pl

Found = tuple[str, str]  # a key, and what was expected there
Asked = tuple[Problem, Mapping[str, str]]  # a problem with its facets


class Pool(Section):
    """What a round searches: so many problems of the training set, the least searched first; all where none is said."""

    problems: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    again: bool = True  # once all were searched, from the beginning; false: a round that finds too few new ones stops


class Settings(Section):
    """A source in the experiment file. `pool_section` is its own where it draws what a round searches itself."""

    pool_section: ClassVar[type[Section] | None] = None
    demonstrates: ClassVar[bool] = False  # what it brings demonstrates
    holds_out: ClassVar[bool] = False  # it brings a held-out set
    source: Annotated[str, DISCRIMINATOR]

    def key(self, root: Path) -> str:
        """What decides, beside settings and seed, what it holds. `root`: what relative paths start from.

        Raises `UserError` for what cannot be read.
        """
        raise NotImplementedError

    @property
    def stops_at_bad_rows(self) -> bool:
        """Else they are left out, and counted."""
        return False

    def facets_told(self) -> frozenset[str]:
        """Names of facets that its problems have; those that it cannot tell beforehand are left out."""
        return frozenset()

    def kinds(self) -> frozenset[str]:
        """Kinds of answers that its problems have."""
        raise NotImplementedError

    def redraws_key(self, root: Path) -> str | None:
        """What decides how it asks anew, settings included; None where what it opens is no `Redraws`."""
        return None

    def opened(self, seed: int, root: Path) -> "Source":
        raise NotImplementedError

    def prelude(self) -> str:
        """Source text that the sandbox knows before a program begins; "" for none."""
        return ""

    def unreadable(self, root: Path) -> Found | None:
        """What can be known to be wrong with its files before they are read through."""
        return None

    def contradiction(self, where: str, pools: Sequence[tuple[str, Section]], fresh: int) -> Found | None:
        """The first key that asks for what there cannot be.

        Args:
            where: its own key. pools: a pool a round, each with its key in the file.
            fresh: new instances of each question, which are no question of the experiment.
        """
        return None

    def without_effect(self, where: str, pool: Section) -> Iterator[Found]:
        """Keys that were changed and that nothing reads, each with the reason."""
        return iter(())

    def asks(self, pool: Section) -> int:
        """How many problems a pool of its own section asks."""
        raise NotImplementedError


class Source(Protocol):
    """One of `Reads` and `Brings` with `Draws`; more where it can."""

    @property
    def name(self) -> str:
        """What `Problem.source` says of its problems."""


@dataclass(frozen=True)
class Brought:
    """A held-out set; problems that demonstrations solve; and the demonstrations."""

    held_out: Sequence[Item] = ()
    shown: Sequence[Item] = ()
    demonstrations: Sequence[Demonstration] = ()


class Read(NamedTuple):
    """What came of a row: an item, or what is wrong with it. Rows come in one order, whoever asks.

    file, line: where it stands. told: the text in the column that was asked for. answer: what golds of one question are
    compared by, "" for the gold itself.
    """

    file: str
    line: int
    item: Item | None
    told: str = ""
    fault: str = ""
    answer: str = ""


@runtime_checkable
class Reads(Protocol):
    """Goes through problems one by one, so that there may be more than memory holds."""

    @property
    def name(self) -> str: ...

    def read(self, told: str = "") -> Iterator[Read]:
        """Every row; `told`: a column whose text comes with it. Raises `UserError` for a file that cannot be read."""


@runtime_checkable
class Brings(Protocol):
    """Has a held-out set of its own, and demonstrations."""

    def brought(self) -> Brought: ...


@runtime_checkable
class Draws(Protocol):
    """Draws what a round searches."""

    def draw(self, round: int, pool: Section, before: Sequence[Asked]) -> list[Item]:
        """`before`: all that was asked so far; none of it is asked again."""


@runtime_checkable
class Redraws(Protocol):
    """Can ask the same anew."""

    def fresh(
        self, problem: Problem, facets: Mapping[str, str], n: int, asked: Collection[str]
    ) -> list[tuple[Problem, Gold]]:
        """`n` distinct new questions that ask the same of new data; `asked`: the questions of the experiment.

        Raises `UserError` where there are not that many more.
        """


@runtime_checkable
class Promises(Protocol):
    """Promises something of its splits."""

    def broken(self, placed: "pl.DataFrame") -> "pl.DataFrame":
        """The problems that break a promise, with `problem_id` among the columns; none of them if all are kept.

        placed: columns round, split, problem_id, question, a row a place where a problem stands; its facets as further
        columns, null where a problem has none of that name.
        """


def names() -> list[str]:
    """The sources there are: the files of `sources/`."""
    return sorted(module.name for module in pkgutil.iter_modules(sources.__path__))


def settings_of(value: Any) -> Settings:
    """A source's section from its mapping in the file. Raises what pydantic takes for a mistake."""
    if isinstance(value, Settings):
        return value
    if not isinstance(value, dict):
        raise mistake("", f"expected a source, a mapping with the key source, found {shown(value)}")
    name = value.get("source")
    if not isinstance(name, str) or name not in names():
        found = "it is missing" if "source" not in value else f"found {shown(name)}"
        raise mistake("source", unknown(name, names()) if isinstance(name, str) else f"{_one_of()}; {found}")
    section: type[Settings] = importlib.import_module(f"{sources.__name__}.{name}").SETTINGS
    try:
        return section.model_validate(value)
    except ValidationError as error:
        raise mistake(*described(error, section)) from None


def _one_of() -> str:
    return f"expected one of {', '.join(names())}"


def seed_of(*parts: object) -> int:
    """A 64-bit seed from what it is for: sha256 of the parts, joined."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")
