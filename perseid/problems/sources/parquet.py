"""Parquet, of which the columns that are needed are read, some rows at a time."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from perseid.errors import UserError, printable
from perseid.problems.files import shown
from perseid.problems.rows import FileSettings, Row
from perseid.section import DISCRIMINATOR

BATCH: Final = 1024  # rows


class Settings(FileSettings):
    source: Annotated[Literal["parquet"], DISCRIMINATOR] = "parquet"

    def rows(self, root: Path, only: Collection[str] | None = None) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for file in self.files(root):
            name, number = shown(file, root), 0
            try:
                with pq.ParquetFile(file, memory_map=True) as table:
                    for batch in table.iter_batches(BATCH, columns=_of(table.schema_arrow.names, only)):
                        for values in batch.to_pylist():
                            number += 1
                            yield Row(name, number, values)
            except (pa.ArrowException, OSError) as error:
                raise UserError(name, "", f"cannot be read as Parquet ({printable(str(error), 120)})") from None


SETTINGS = Settings


def _of(names: list[str], only: Collection[str] | None) -> list[str] | None:
    """None where all are wanted, or none of those that are there: then each row says what it lacks."""
    return [name for name in names if only is None or name in only] or None
