"""Leases: who works on what, so that two processes never make one thing at once.

A lease is two files: a lock, held by `flock`, which the kernel takes back when its process dies; and a claim, which
says who holds it. On one host the lock decides. On a shared file system a lock may hold on one host only, so a claim of
another host counts while it is touched: its holder does so every `BEAT_S` seconds, and it is stale after `STALE_S`.

A host that sleeps for longer than that loses its lease without knowing. That costs work done twice, never an artifact:
what is published is whole and named by its content.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from perseid.artifacts.disk import content_of, make_folder, unlock, writing
from perseid.artifacts.owners import Owner, me
from perseid.errors import UserError

BEAT_S: Final = 15.0
STALE_S: Final = 120.0
DYING_S: Final = 5.0  # seconds until the children of a dead process let go of its lock


class Claim(BaseModel):
    """Who holds a lease, and since when (UTC)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Owner
    since: str


@contextmanager
def lease(place: Path, what: str) -> Iterator[None]:
    """Hold `what` against every other process; its files are `place` with endings.

    Raises `UserError` naming who has it.
    """
    with writing(place):
        make_folder(place.parent)
        descriptor = os.open(_lock(place), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _locked(descriptor, place):
            raise held(place, what)
        with writing(place):
            _claim(place, what)
        ended = threading.Event()
        beats = threading.Thread(target=_beat, args=(place, ended), daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with suppress(OSError):
                if (claim := claimed(place)) is not None and claim.owner == me():
                    _file(place).unlink()
    finally:
        unlock(descriptor)


def holder(place: Path) -> Claim | None:
    """Who holds the lease now, as far as the claim says; nothing is locked, so that nobody is disturbed."""
    claim = claimed(place)
    if claim is None or claim.owner.dead:
        return None
    return claim if claim.owner.here or _age_s(place) < STALE_S else None


def claimed(place: Path) -> Claim | None:
    try:
        return Claim.model_validate_json(content_of(_file(place)))
    except (OSError, ValidationError):
        return None  # nobody's, or that of one who died while it was written


def held(place: Path, what: str) -> UserError:
    claim = claimed(place)
    if claim is None:
        return UserError(place.parent, what, "in progress in another process; wait for it, or end it")
    who = f"process {claim.owner.process} of {claim.owner.host} since {claim.since}"
    far = "" if claim.owner.here else f"; if it is dead, this ends {STALE_S:.0f} s after its last sign of life"
    return UserError(place.parent, what, f"in progress in {who}; wait for it, or end it{far}")


def _locked(descriptor: int, place: Path) -> bool:
    deadline = time.monotonic() + DYING_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        claim = claimed(place)
        if claim is None or not claim.owner.dead or time.monotonic() > deadline:
            return False
        time.sleep(0.05)


def _claim(place: Path, what: str) -> None:
    """With the lock held: what is found is of a dead process of this host, or of another host."""
    path, found = _file(place), claimed(place)
    if found is None:
        if path.exists():  # damaged
            path.unlink()
    elif found.owner.here:
        path.unlink()
    elif _age_s(place) < STALE_S or not _moved_aside(path, found):
        raise held(place, what)
    if not _created(path, Claim(owner=me(), since=datetime.now(UTC).isoformat(timespec="seconds"))):
        raise held(place, what)  # another host was first


def _created(path: Path, claim: Claim) -> bool:
    """Write a claim where there is none, at once and whole, which a link does on network file systems too."""
    new = path.with_name(f"{path.name}-{secrets.token_hex(6)}")
    new.write_text(claim.model_dump_json())
    try:
        os.link(new, path)
        return True
    except FileExistsError:
        return False
    finally:
        new.unlink()


def _moved_aside(path: Path, stale: Claim) -> bool:
    """Take a stale claim away, and nothing but it: another host may do the same, and be in it already."""
    aside = path.with_name(f"{path.name}-{secrets.token_hex(6)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return True
    taken = aside.read_bytes() == stale.model_dump_json().encode()
    if not taken:
        with suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()
    return taken


def _beat(place: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with suppress(OSError):
            os.utime(_file(place))


def _age_s(place: Path) -> float:
    """Seconds since the claim was touched, by the clock of the file system, which hosts may differ from."""
    probe = place.with_name(f"{place.name}.now-{secrets.token_hex(6)}")
    try:
        probe.touch()
        return probe.stat().st_mtime - _file(place).stat().st_mtime
    except FileNotFoundError:
        return STALE_S
    except OSError:  # a reader may not write here
        return time.time() - _file(place).stat().st_mtime
    finally:
        with suppress(OSError):
            probe.unlink()


def _lock(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


def _file(place: Path) -> Path:
    return place.with_name(f"{place.name}.claim")
