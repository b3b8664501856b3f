"""A root that was copied or moved: MLflow writes addresses of artifacts in full, which would read the old place.

The database says itself where it lay when they were written: all addresses that we make begin with its folder.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from perseid.artifacts.disk import content_of

PLACE = "place.txt"  # beside the database: the folder as it was when the addresses were written
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
WAIT_S = 10.0


def repoint(database: Path) -> None:
    """Let the addresses in the database begin with its present folder; under the lock of its makers."""
    folder, note = database.parent, database.parent / PLACE
    before = Path(content_of(note).decode()) if note.exists() else folder
    if before != folder:
        with closing(sqlite3.connect(database, timeout=WAIT_S)) as connection, connection:
            for table, column in ADDRESSES:
                if has(connection, table, column):
                    rewrite(connection, table, column, before.as_uri(), folder.as_uri())
    if before != folder or not note.exists():
        with suppress(OSError):  # a folder that cannot be written: tried again at the next opening
            note.write_text(str(folder))


def has(connection: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in connection.execute(f"pragma table_info({table})"))


def rewrite(connection: sqlite3.Connection, table: str, column: str, before: str, after: str) -> None:
    old = f"{before}/"
    connection.execute(
        f"update {table} set {column} = ? || substr({column}, ?) where substr({column}, 1, ?) = ?",
        (f"{after}/", len(old) + 1, len(old), old),
    )
