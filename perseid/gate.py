"""Which policy is champion: a candidate takes its place only if it is not shown to be worse on the held-out problems.

The decision is a pure function of two score columns over the same problems: paired bootstrap, the candidate is held
when the whole interval of (candidate - champion) lies below 0 (design, section 8). "Not shown to be worse" is not
"better": with few problems the interval is wide and the gate lets small losses pass. It looks once a round, so over
many rounds small losses may add up; the evaluation of every round stays on record for that reason.

The state of an experiment is one small file, `<root>/<experiment>/champion.json`, replaced atomically, with a history
that only grows. It is bookkeeping of aliases, never an input of a computation: nothing is stale when it changes.
"""

import fcntl
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from perseid.artifacts import Store
from perseid.artifacts.disk import make_folder, replace_file, unlock, writing
from perseid.errors import UserError
from perseid.lineage import locate
from perseid.metrics import paired_difference

FILE: Final = "champion.json"


class Decision(BaseModel):
    """`difference` is (value, low, high) of candidate - champion; None when there was no champion to compare with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Literal["promote", "hold"]
    reason: str
    difference: tuple[float, float, float] | None = None
    n: int = 0


class Holder(BaseModel):
    """A version of a policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    version: str


class Event(Holder):
    """What happened to a policy, why, and when (UTC)."""

    action: Literal["promote", "hold", "rollback"]
    reason: str
    at: str
    forced: bool = False


class State(BaseModel):
    """`line` holds the champions in the order of their promotion, the present one last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: tuple[Holder, ...] = ()
    candidate: Holder | None = None
    history: tuple[Event, ...] = ()

    @property
    def champion(self) -> Holder | None:
        return self.line[-1] if self.line else None


def decide(
    candidate: npt.ArrayLike,
    champion: npt.ArrayLike | None,
    *,
    seed: int,
    confidence: float = 0.95,
    samples: int = 2000,
) -> Decision:
    """Promote or hold, from both scores on the same problems in the same order, [P] each. Equals promote."""
    if champion is None:
        return Decision(verdict="promote", reason="there is no champion yet")
    found = paired_difference(candidate, champion, seed=seed, samples=samples, confidence=confidence)
    if found.n == 0:
        return Decision(verdict="hold", reason="no held-out problem was evaluated")
    shown = "worse than" if found.high < 0.0 else "better than" if found.low > 0.0 else "not shown to be worse than"
    points = f"{found.value:+.1%} [{found.low:+.1%}, {found.high:+.1%}], {confidence:.0%} paired, {found.n} problems"
    return Decision(
        verdict="hold" if found.high < 0.0 else "promote",
        reason=f"{shown} the champion: {points}",
        difference=(found.value, found.low, found.high),
        n=found.n,
    )


def state(store: Store, experiment: str) -> State:
    """The gate's state of an experiment, empty where nothing was decided. Raises `UserError` for a damaged file."""
    path = store.root / experiment / FILE
    try:
        return State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return State()
    except OSError as error:
        raise UserError(path, "", f"cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(path, key, f"damaged: {first['msg']}; delete it and promote a policy anew") from error


def champion(store: Store, experiment: str) -> Holder | None:
    """The champion, None before the first promotion."""
    return state(store, experiment).champion


def apply(store: Store, experiment: str, policy: Holder, decision: Decision) -> State:
    """Write down what `decide` said of `policy`; said before, in the same words, it changes nothing."""

    def change(now: State) -> State:
        said = [event for event in now.history if _holder(event) == policy and not event.forced]
        if said and (said[-1].action, said[-1].reason) == (decision.verdict, decision.reason):
            return now
        return _decided(now, policy, decision.verdict, decision.reason)

    return _change(store, experiment, change)


def promote(store: Store, experiment: str, key: str, version: str | None = None, reason: str = "by hand") -> State:
    """Make a policy champion, whatever the gate says. Raises `UserError` if there is no such policy."""
    policy = Holder(**dict(zip(("key", "version"), locate(store, key, version), strict=True)))
    if not (policy.key.startswith(f"{experiment}/") and policy.key.endswith("/policy")):
        raise UserError("promote", key, f"expected a policy of {experiment}, such as {experiment}/round_01/policy")

    def change(now: State) -> State:
        return now if now.champion == policy else _decided(now, policy, "promote", reason, forced=True)

    return _change(store, experiment, change)


def rollback(store: Store, experiment: str, reason: str = "by hand") -> State:
    """Give the place back to the champion before. Raises `UserError` if there was none."""

    def change(now: State) -> State:
        if len(now.line) < 2:
            where = store.root / experiment / FILE
            raise UserError(where, "line", "no champion stands before the present one; nothing to roll back to")
        event = _event(now.line[-2], "rollback", f"{reason}; from {now.line[-1].key}@{now.line[-1].version}", True)
        return State(line=now.line[:-1], candidate=now.candidate, history=(*now.history, event))

    return _change(store, experiment, change)


def _decided(
    now: State, policy: Holder, verdict: Literal["promote", "hold"], reason: str, *, forced: bool = False
) -> State:
    history = (*now.history, _event(policy, verdict, reason, forced))
    if verdict == "hold":
        return State(line=now.line, candidate=policy, history=history)
    line = now.line if now.champion == policy else (*now.line, policy)
    return State(line=line, candidate=now.candidate if now.candidate != policy else None, history=history)


def _change(store: Store, experiment: str, change: Callable[[State], State]) -> State:
    """Read, change and replace the file while no other process does."""
    path = store.root / experiment / FILE
    with writing(path):
        make_folder(path.parent)
        lock = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        now = state(store, experiment)
        then = change(now)
        if then != now:
            replace_file(path, (then.model_dump_json(indent=1) + "\n").encode())
        return then
    finally:
        unlock(lock)


def _event(policy: Holder, action: Literal["promote", "hold", "rollback"], reason: str, forced: bool) -> Event:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Event(key=policy.key, version=policy.version, action=action, reason=reason, at=at, forced=forced)


def _holder(event: Event) -> Holder:
    return Holder(key=event.key, version=event.version)
