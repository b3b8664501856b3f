"""The way to MLflow's store, a SQLite file: opened when it is first needed, and never a reason for a run to stop.

Every call waits a bounded time. When the store cannot be written (locked, read-only, full, damaged, of another schema),
that is said in one line, and it is left alone for a while; what was to be written stays with the caller. mlflow is
imported here, at the first call, so that definitions load without it.
"""

import fcntl
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestration.moved import repoint
from orchestration.places import sqlite_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE, MISSED = "mlflow.db", "missed"
MAKING = ".making-"  # of databases, under a lock; drafts are called otherwise, for other processes may write them
log = logging.getLogger("perseid.tracking")
T = TypeVar("T")


class Link:
    """wait_s: for a lock of another process. rest_s: after a failure, before the store is tried again."""

    def __init__(self, folder: Path, wait_s: float, rest_s: float) -> None:
        self.folder, self.database, self.wait_s, self.rest_s = folder, folder / DATABASE, wait_s, rest_s
        self.away_until = 0.0  # on the monotonic clock
        self.said: set[str] = set()
        self._client: MlflowClient | None = None
        self._opened: int | None = None  # the inode of the database that the client holds open

    def ask(self, action: "Callable[[MlflowClient], T]", otherwise: T) -> T:
        """What `action` gives; `otherwise` when the store cannot be reached or refuses, which is said in one line."""
        if time.monotonic() < self.away_until:
            return otherwise
        try:
            self._reach()
            return action(self.client)
        except Exception as error:
            self._failed(error)
            return otherwise

    def tell(self, action: "Callable[[MlflowClient], object]") -> bool:
        """Whether it could be done."""
        return self.ask(lambda client: (action(client), True)[1], False)

    @property
    def client(self) -> "MlflowClient":
        if self._client is None:
            self._client = self._open()
        return self._client

    def _reach(self) -> None:
        """Raises unless the store can be written soon: MLflow itself would try for a minute and print its traces."""
        if self._opened is not None and (not self.database.exists() or self.database.stat().st_ino != self._opened):
            raise OSError("another file has taken its place; this process holds the old one open")
        if self.database.exists() and not self.database.is_file():  # a pipe would be waited for
            raise OSError(f"{self.database} is no database")
        if self.database.exists():
            writable(self.database, self.wait_s)

    def _open(self) -> "MlflowClient":
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
        with self.lock():
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):  # what fails is said by us, in one line
                logging.getLogger(name).setLevel(logging.CRITICAL)
            self._create()
            repoint(self.database)
            client = MlflowClient(sqlite_uri(self.database), sqlite_uri(self.database))
            client.search_experiments(max_results=1)  # its schema is looked at here
            self._opened = self.database.stat().st_ino
            return client

    def _create(self) -> None:
        """Make the database under another name first: a kill amid its migrations would leave one that none can open."""
        from mlflow import MlflowClient

        for leftover in self.folder.glob(f"{MAKING}*"):  # made under the lock alone, so its maker is dead
            shutil.rmtree(leftover, ignore_errors=True)
        if self.database.exists():
            return
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=MAKING) as folder:
            made = Path(folder) / DATABASE
            MlflowClient(sqlite_uri(made), sqlite_uri(made)).search_experiments()
            made.rename(self.database)

    def _failed(self, error: Exception) -> None:
        """Of a store that can be written, only what was asked was refused; else it is left alone for a while."""
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        try:
            if self._client is None or isinstance(error, sqlite3.Error | OSError):  # it was not MLflow that refused
                raise error
            self._reach()
        except Exception:
            self.away_until = time.monotonic() + self.rest_s
            kept = self.folder / MISSED
            self.say(
                f"{self.database}: cannot be written ({reason}); the run goes on, what is missed is kept in {kept}"
            )
        else:
            self.say(f"{self.database} refused a record ({reason}); the run goes on")

    def say(self, line: str) -> None:
        """Once a process."""
        if line not in self.said:
            self.said.add(line)
            log.warning("tracking: %s", line)

    @contextmanager
    def lock(self, name: str = ".lock") -> Iterator[None]:
        """Raises `TimeoutError` when another process holds it for too long."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / name).open("w") as file:
            flock_within(file.fileno(), self.wait_s)
            yield


def flock_within(descriptor: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process held its lock for {wait_s:g} s") from None
            time.sleep(0.05)


def writable(database: Path, wait_s: float) -> None:
    """Raises `sqlite3.Error` unless a transaction can be begun within `wait_s`."""
    with closing(sqlite3.connect(database, timeout=wait_s, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        connection.execute("rollback")


@cache
def link_to(folder: Path, wait_s: float, rest_s: float) -> Link:
    """One a process: Dagster copies resources, and a store that is away is waited for once."""
    return Link(folder, wait_s, rest_s)
