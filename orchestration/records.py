"""An attempt as it is told to MLflow: a queue of what is to be written to its run.

What is written leaves the queue. What cannot be is kept in a file, and written by a later attempt or command; each
item may be written twice without harm, for a kill may come between the writing and its note.
"""

import base64
import json
import re
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perseid.artifacts.disk import content_of, replace_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000  # metrics a call, the store's limit
PARAMS = 100  # params or tags a call, the same
VALUE, TAG, NAME = 6000, 8000, 250  # characters of a param's value, of a tag's and of a name, the same
CUT = "… (cut)"
ATTEMPT = "perseid.attempt"  # the tag that finds the run of a record

Point = tuple[str, int, float, int]  # name, step, value, milliseconds since 1970


@dataclass
class Record:
    """`pending` holds (kind, value), oldest first: kinds are the methods of `Writer`."""

    round_key: str
    asset: str
    tags: dict[str, str]
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex)
    started_ms: int = field(default_factory=lambda: now_ms())
    run_id: str = ""
    pending: list[tuple[str, Any]] = field(default_factory=list)

    def add(self, kind: str, value: Any) -> None:
        self.pending.append((kind, value))

    def write(self, client: "MlflowClient") -> None:
        """Write what is pending; raises at the first item that cannot be, which stays."""
        writer = Writer(client, self.run_id)
        while self.pending:
            kind, value = self.pending[0]
            getattr(writer, kind)(value)
            self.pending.pop(0)

    def keep(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / f"{self.started_ms}-{self.attempt}.json", json.dumps(asdict(self)).encode())

    @classmethod
    def kept(cls, path: Path) -> "Record":
        return cls(**json.loads(content_of(path)))


@dataclass(frozen=True)
class Writer:
    """Writes to one run; a method a kind of item."""

    client: "MlflowClient"
    run_id: str

    def tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, cut(value, TAG)) for key, value in tags.items()])

    def params(self, values: Mapping[str, str]) -> None:
        """In batches; MLflow refuses another value for a name that it has, and values that are too long."""
        from mlflow.entities import Param

        known = self.client.get_run(self.run_id).data.params
        named = {param_name(name): cut(value, VALUE) for name, value in values.items()}
        new = [Param(name, value) for name, value in named.items() if name not in known]
        for start in range(0, len(new), PARAMS):
            self.client.log_batch(self.run_id, params=new[start : start + PARAMS])

    def points(self, points: list[Point]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(metric_name(name), value, time_ms, step) for name, step, value, time_ms in points]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])

    def picture(self, named: tuple[str, str]) -> None:
        """`named` is the name and the PNG in base 64."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{named[0]}.png"
            path.write_bytes(base64.b64decode(named[1]))
            self.client.log_artifact(self.run_id, str(path), "plots")

    def end(self, ended: tuple[str, int]) -> None:
        self.client.set_terminated(self.run_id, ended[0], ended[1])


def now_ms() -> int:
    return int(time.time() * 1000)


def metric_name(name: str) -> str:
    """MLflow refuses "@": `pass@1` is called `pass_at_1` there."""
    return name.replace("@", "_at_")


def param_name(name: str) -> str:
    """MLflow takes letters, digits, and `_-. :/` in the name of a param, and no path that leads up."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII).strip("/.")[:NAME] or "_"


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - len(CUT)] + CUT
