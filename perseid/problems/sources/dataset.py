"""A data set of the library `datasets`: a folder that `save_to_disk` wrote, or one of the hub by name and commit.

Of the hub a commit is asked for, so that the same file means the same problems. No code of a data set is run.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from perseid.errors import UserError, printable
from perseid.mistakes import mistake
from perseid.problems import files
from perseid.problems.rows import Row
from perseid.problems.rows import Settings as RowSettings
from perseid.problems.source import Found
from perseid.section import DISCRIMINATOR, OPERATIONAL

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
HUB: Final = re.compile(r"\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)


def _hub(name: str) -> str:
    if not HUB.fullmatch(name):
        raise mistake("", "expected the name of a data set of the hub, like openai/gsm8k")
    return name


class Settings(RowSettings):
    source: Annotated[Literal["dataset"], DISCRIMINATOR] = "dataset"
    path: Annotated[str, Field(min_length=1, max_length=4096), OPERATIONAL] | None = None  # a saved folder
    hub: Annotated[str, AfterValidator(_hub)] | None = None  # in place of path: a name of the hub
    revision: Annotated[str, Field(max_length=40)] = ""  # of the hub: a commit
    config: Annotated[str, Field(max_length=200)] = ""  # of the hub: one of its configurations
    split: Annotated[str, Field(max_length=200)] = ""  # where there are several

    @model_validator(mode="after")
    def _one_place(self) -> "Settings":
        if (self.path is None) == (self.hub is None):
            raise mistake("path", "expected path (a folder that save_to_disk wrote) or hub (a name), one of them")
        if self.hub is None:
            for key in ("revision", "config"):
                if getattr(self, key):
                    raise mistake(key, "has no effect on a folder")
        elif not COMMIT.fullmatch(self.revision):
            raise mistake("revision", "expected a commit of the hub's repository, 40 hex digits")
        elif not self.split:
            raise mistake("split", "expected the name of a split, like train")
        return self

    def unreadable(self, root: Path) -> Found | None:
        return None if self.path is None else super().unreadable(root)  # nothing is fetched to read an experiment

    def key(self, root: Path) -> str:
        if self.path is None:
            return self.revision[:16]
        folder = self.folder(root)
        told = [files.content_key([file]) for file in _arrow_files(folder)]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def folder(self, root: Path) -> Path:
        """The folder of the split. Raises `UserError` where there is none."""
        assert self.path is not None
        whole = root / Path(self.path).expanduser()
        if (whole / "state.json").is_file() and not self.split:
            return whole
        if (whole / self.split / "state.json").is_file():
            return whole / self.split
        there = sorted(path.parent.name for path in whole.glob("*/state.json")) if whole.is_dir() else []
        expected = f"expected split: {' or '.join(there)}" if there else "expected a folder that save_to_disk wrote"
        raise UserError(printable(self.path), "", expected)

    def rows(self, root: Path, only: Collection[str] | None = None) -> Iterator[Row]:
        name = self.hub or printable(self.path or "")
        table = self.opened_set(root)
        names = [column for column in table.column_names if only is None or column in only]
        for number, values in enumerate(table.select_columns(names) if names else table, 1):
            yield Row(name, number, values)

    def opened_set(self, root: Path) -> Any:
        try:
            import datasets
        except ImportError:
            raise UserError(
                "problems", "source", "dataset needs the package datasets, which is not installed"
            ) from None
        datasets.disable_progress_bars()
        if self.path is not None:
            folder = self.folder(root)
            try:
                return datasets.load_from_disk(str(folder))
            except Exception as error:  # of a damaged folder: whatever the library makes of it
                raise UserError(printable(self.path), "", f"cannot be read ({printable(str(error), 200)})") from None
        assert self.hub is not None
        try:
            return datasets.load_dataset(self.hub, self.config or None, split=self.split, revision=self.revision)
        except Exception as error:  # no hub, no such data set, one that would run code
            how = f"datasets.load_dataset({self.hub!r}, split={self.split!r}).save_to_disk('data/{self.split}')"
            remedy = f"where a hub is reachable run {how}, and name that folder: path: data/{self.split}"
            told = f"{printable(str(error), 120)}; {remedy}"
            raise UserError(self.hub, "", f"cannot be loaded: {told}") from None


SETTINGS = Settings


def _arrow_files(folder: Path) -> list[Path]:
    """The files that hold its rows, in order."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [folder / one["filename"] for one in state["_data_files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(printable(str(folder)), "", f"cannot be read ({printable(str(error), 120)})") from None
