"""Which policy is champion: a candidate takes its place only if it is not shown to be worse on the held-out problems.

The decision is a pure function of two score columns over the same problems: paired bootstrap, the candidate is held
when the whole interval of (candidate - champion) lies below 0. "Not shown to be worse" is not "better": with few
problems the interval is wide and the gate lets small losses pass. It looks once a round, so over many rounds small
losses may add up; the evaluation of every round stays on record for that reason.

**Rounds have an order, judging has none.** The policy of a round is judged against the champion of the rounds before
it, whenever that is done, and its verdict changes the place of its own round alone: promoted, it stands in the line at
its round; held, nothing of its round does. The champion is the last of the line. So an evaluation that is made again
after an edit gives each round a new verdict, and an older policy never takes the place of a later one by being judged
later. A verdict belongs to a `Case`: candidate, the champion it was compared with, both evaluations, by version, and
the rule. It is not asked for again while it is the last word on its round; what was changed and is changed back is
judged again, for the line is what the last word left.

The user's word stands above: a policy promoted by hand gives way to later rounds than any that was judged by then, and
one that was rolled back returns by hand or as another version.

The state of an experiment is one small file, `<root>/<experiment>/champion.json`, replaced atomically, with a history
that only grows. It is bookkeeping of aliases, never an input of a computation: nothing is stale when it changes.
"""

import fcntl
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from perseid.artifacts import Store
from perseid.artifacts.disk import content_of, make_folder, replace_file, unlock, writing
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


class Case(BaseModel):
    """What a verdict is of. evaluation, rival: versions of the evaluations of candidate and champion, "" for none.

    rule: what else decides it, as text; "" where nothing is compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Holder
    champion: Holder | None = None
    evaluation: str = ""
    rival: str = ""
    rule: str = ""


class Event(Holder):
    """What happened to a policy, why, and when (UTC).

    against: the champion that a verdict compared it with; of a rollback, the policy that gave its place back.
    """

    action: Literal["promote", "hold", "rollback"]
    reason: str
    at: str
    forced: bool = False
    against: Holder | None = None
    evaluation: str = ""
    rival: str = ""
    rule: str = ""

    @property
    def case(self) -> Case:
        about = {"evaluation": self.evaluation, "rival": self.rival, "rule": self.rule}
        return Case(candidate=_holder(self), champion=self.against, **about)


class Place(Holder):
    """A champion in the line. `stands` is the round that it counts as: its own, or, `forced`, the last one judged."""

    stands: int | None = None
    forced: bool = False

    @property
    def round(self) -> int:
        return round_of(self) if self.stands is None else self.stands


class State(BaseModel):
    """`line` holds the champions in the order of their rounds, the present one last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    line: tuple[Place, ...] = ()
    candidate: Holder | None = None
    history: tuple[Event, ...] = ()

    @property
    def champion(self) -> Holder | None:
        return _holder(self.line[-1]) if self.line else None

    def before(self, policy: Holder) -> Holder | None:
        """The champion that a policy is judged against: the last of the rounds before its own."""
        earlier = [place for place in self.line if place.round < round_of(policy)]
        return _holder(earlier[-1]) if earlier else None

    def verdict(self, case: Case) -> Event | None:
        """The gate's last word on the candidate's round, if it was on exactly this case."""
        number = round_of(case.candidate)
        said = [event for event in self.history if not event.forced and round_of(event) == number]
        return said[-1] if said and said[-1].case == case else None

    def rolled_back(self, policy: Holder) -> bool:
        """Whether the user's last word on this version was to take it back."""
        words = [event for event in self.history if event.forced and policy in (event.against, _holder(event))]
        return bool(words) and words[-1].against == policy


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
        return Decision(verdict="promote", reason="no champion stands before it")
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
        return State.model_validate_json(content_of(path))
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


def apply(store: Store, experiment: str, case: Case, decision: Decision) -> State:
    """Write down what `decide` said of `case`; said before, in the same words, it changes nothing."""

    def change(now: State) -> State:
        said = now.verdict(case)
        if said is not None and (said.action, said.reason) == (decision.verdict, decision.reason):
            return now
        return _judged(now, case, decision)

    return _change(store, experiment, change)


def promote(store: Store, experiment: str, key: str, version: str | None = None, reason: str = "by hand") -> State:
    """Make a policy champion, whatever the gate says. Raises `UserError` if there is no such policy."""
    policy = Holder(**dict(zip(("key", "version"), locate(store, key, version), strict=True)))
    if not policy.key.startswith(f"{experiment}/"):
        raise UserError("promote", key, f"expected a policy of {experiment}")

    def change(now: State) -> State:
        if now.champion == policy:
            return now
        event = _event(policy, "promote", reason, forced=True)
        judged = max(round_of(known) for known in (policy, *now.history))
        place = Place(**policy.model_dump(), stands=judged, forced=True)
        waiting = None if now.candidate == policy else now.candidate
        return State(line=(*now.line, place), candidate=waiting, history=(*now.history, event))

    return _change(store, experiment, change)


def rollback(store: Store, experiment: str, reason: str = "by hand") -> State:
    """Give the place back to the champion before. Raises `UserError` if there was none."""

    def change(now: State) -> State:
        if len(now.line) < 2:
            where = store.root / experiment / FILE
            raise UserError(where, "", "no champion stood before the present one; nothing to roll back to")
        back, gone = _holder(now.line[-2]), _holder(now.line[-1])
        event = _event(back, "rollback", f"{reason}; from {gone.key}@{gone.version}", forced=True, against=gone)
        return State(line=now.line[:-1], candidate=now.candidate, history=(*now.history, event))

    return _change(store, experiment, change)


def round_of(policy: Holder) -> int:
    """The round in a policy's key, 0 where there is none."""
    found = re.search(r"/round_(\d+)/", policy.key)
    return int(found[1]) if found else 0


def _judged(now: State, case: Case, decision: Decision) -> State:
    """The verdict in the history, and the place of the candidate's round in the line according to it."""
    policy, number = case.candidate, round_of(case.candidate)
    about = {"against": case.champion, **case.model_dump(include={"evaluation", "rival", "rule"})}
    history = (*now.history, _event(policy, decision.verdict, decision.reason, **about))
    if now.rolled_back(policy):
        return State(line=now.line, candidate=now.candidate, history=history)
    line = [place for place in now.line if place.forced or place.round != number]
    waiting = now.candidate
    if decision.verdict == "hold":
        waiting = policy if waiting is None or round_of(waiting) <= number else waiting
    else:
        waiting = None if waiting is not None and round_of(waiting) == number else waiting
        if policy not in map(_holder, line):
            above = [i for i, place in enumerate(line) if place.round >= number]  # of its own round: by hand alone
            line.insert(above[0] if above else len(line), Place(**policy.model_dump()))
    return State(line=tuple(line), candidate=waiting, history=history)


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


def _event(policy: Holder, action: Literal["promote", "hold", "rollback"], reason: str, **more: Any) -> Event:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Event(key=policy.key, version=policy.version, action=action, reason=reason, at=at, **more)


def _holder(known: Holder) -> Holder:
    return Holder(key=known.key, version=known.version)
