"""The champion: which policy counts as the best, by whose decision, and since when. A ledger of decisions, never edited.

`<root>/<experiment>/champion.json` is replaced whole. The gate writes a decision for every evaluated policy, once for
each pair of versions; `promote` and `rollback` write the user's. The last promotion names the champion.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from perseid.artifacts import Store
from perseid.artifacts.disk import replace_file, writing
from perseid.errors import UserError


class Decision(BaseModel):
    """`key` and `version` name the policy, `evaluation` the version that it was judged by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    version: str
    round: int
    evaluation: str
    promoted: bool
    reason: str
    by: Literal["gate", "promote", "rollback"] = "gate"


class Ledger:
    """All decisions of an experiment, oldest first."""

    def __init__(self, path: Path, decisions: tuple[Decision, ...]) -> None:
        self.path, self.decisions = path, decisions

    @classmethod
    def of(cls, store: Store, experiment: str) -> "Ledger":
        """Raises `UserError` naming the file when it is damaged."""
        path = store.root / experiment / "champion.json"
        try:
            rows = json.loads(path.read_text())
            return cls(path, tuple(Decision.model_validate(row) for row in rows))
        except FileNotFoundError:
            return cls(path, ())
        except (OSError, ValueError, TypeError, ValidationError) as error:
            raise UserError(path, "", f"damaged ledger of champions ({type(error).__name__}); move it away") from error

    @property
    def champion(self) -> Decision | None:
        return next((decision for decision in reversed(self.decisions) if decision.promoted), None)

    @property
    def before(self) -> Decision | None:
        """The champion before the present one, whose place it takes back in a rollback."""
        champion = self.champion
        other = [d for d in self._reigns() if champion and d.version != champion.version]
        return other[-1] if other else None

    def judged(self, version: str, evaluation: str) -> Decision | None:
        """The gate's decision on this policy by this evaluation."""
        found = [d for d in self.decisions if (d.by, d.version, d.evaluation) == ("gate", version, evaluation)]
        return found[-1] if found else None

    def added(self, decision: Decision) -> "Ledger":
        ledger = Ledger(self.path, (*self.decisions, decision))
        rows = [row.model_dump() for row in ledger.decisions]
        replace_file(self.path, (json.dumps(rows, indent=1) + "\n").encode())
        return ledger

    def _reigns(self) -> list[Decision]:
        """Promotions that a rollback has not ended, oldest first."""
        reigns: list[Decision] = []
        for decision in self.decisions:
            if decision.by == "rollback" and len(reigns) > 1:
                reigns.pop()
            elif decision.promoted:
                reigns.append(decision)
        return reigns


@contextmanager
def locked(store: Store, experiment: str) -> Iterator[None]:
    """Hold the ledger against other writers."""
    path = store.root / experiment / ".champion.lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
