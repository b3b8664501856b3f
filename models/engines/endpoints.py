"""Which of several servers takes the next request: of those that are up, the one with the fewest requests under way.

An endpoint is up after a probe has passed, and down after anything failed there. While it is down nothing is sent to
it and it is probed, ever more rarely: the pause doubles with each failure in a row, times a random factor, so that
many clients do not come back at once. Only an answer ends the row: an endpoint whose probes pass and whose answers are
garbage is asked ever more rarely too. While it is up it is probed now and then, which finds a hung one that is idle.

It counts this process's requests only: several shards over the same endpoints balance by what each sends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from perseid.engine import EngineFailure

FIRST_S: Final = 0.1  # pause after the first failure in a row, doubled with each further one
LAST_S: Final = 15.0  # the longest pause
CHECK_S: Final = 10.0  # between two probes of an endpoint that is up, and for the answer to one
log = logging.getLogger(__name__)


@dataclass(eq=False)
class Endpoint:
    """A server as this process sees it.

    in_flight: requests under way. failures: in a row, since the last answer. falls: how often it went down; a request
    that was sent before the last fall says nothing about the server that came back.
    """

    url: str
    in_flight: int = 0
    up: bool = False
    failures: int = 0
    falls: int = 0
    rest_s: float = 0.0  # how long it asked to be left alone
    error: str = "not asked yet"
    probed: bool = False
    down: asyncio.Event = field(default_factory=asyncio.Event)


Probe = Callable[[Endpoint], Awaitable[str]]  # what is wrong with it, "" if nothing


class Endpoints:
    """All endpoints of an engine; lives on one event loop. `chance` spreads the pauses and touches no answer.

    check_s: seconds between two probes of an endpoint that is up.
    """

    def __init__(self, urls: Sequence[str], patience_s: float, chance: random.Random, check_s: float = CHECK_S) -> None:
        self.all = [Endpoint(url) for url in urls]
        self._patience_s, self._chance, self._check_s = patience_s, chance, check_s
        self._turn = 0
        self._fault: Exception | None = None
        self._changed = asyncio.Event()

    async def take(self, since_s: float, avoid: Endpoint | None = None) -> Endpoint:
        """An endpoint that is up, counted as one request more; not `avoid` if there is another.

        Raises `EngineFailure` when there is none `patience_s` after `since_s` on the loop's clock, and what a probe
        raised.
        """
        while (found := self._least_loaded(avoid)) is None:
            try:
                async with asyncio.timeout_at(since_s + self._patience_s):
                    await self.changed()
            except TimeoutError:
                raise EngineFailure(self.failure()) from None
        found.in_flight += 1
        return found

    def _least_loaded(self, avoid: Endpoint | None) -> Endpoint | None:
        up = [endpoint for endpoint in self.all[self._turn :] + self.all[: self._turn] if endpoint.up]
        least = min([e for e in up if e is not avoid] or up, key=lambda e: e.in_flight, default=None)
        if least is not None:
            self._turn = self.all.index(least) + 1
        return least

    async def changed(self) -> None:
        """Until an endpoint has gone up or down, or has been probed for the first time."""
        if self._fault is None:
            await self._changed.wait()
        if self._fault is not None:
            raise self._fault

    def answered(self, endpoint: Endpoint, falls: int) -> None:
        """It answered a request that was sent when it had fallen `falls` times."""
        if falls == endpoint.falls:
            endpoint.failures = 0

    def failed(self, endpoint: Endpoint, falls: int, error: str, rest_s: float = 0.0) -> None:
        """A request that was sent when it had fallen `falls` times, or a probe, failed."""
        endpoint.error = error
        if falls != endpoint.falls:
            return
        if endpoint.up or not endpoint.probed:
            log.warning("%s is down: %s", endpoint.url, error)
        endpoint.up, endpoint.rest_s = False, min(rest_s, self._patience_s / 2)  # it is asked again before the end
        endpoint.falls += 1
        endpoint.failures += 1
        endpoint.down.set()
        self._tell()

    async def watch(self, endpoint: Endpoint, probe: Probe) -> None:
        """Probe `endpoint` for ever, and put it up and down accordingly. What a probe raises ends all waiting."""
        try:
            await self._watch(endpoint, probe)
        except Exception as fault:
            self._fault = fault
            self._tell()

    async def _watch(self, endpoint: Endpoint, probe: Probe) -> None:
        while True:
            falls = endpoint.falls
            error = await probe(endpoint)
            if error:
                self.failed(endpoint, falls, error)
            elif falls == endpoint.falls and not endpoint.up:
                log.info("%s is up", endpoint.url)
                endpoint.up = True
                endpoint.down.clear()
                self._tell()
            endpoint.probed = True
            if endpoint.up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(endpoint.down.wait(), self._check_s)
            if not endpoint.up:
                await asyncio.sleep(max(endpoint.rest_s, self.pause_s(endpoint.failures)))

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row, at least one."""
        longest = min(FIRST_S * 2.0 ** min(failures - 1, 30), LAST_S)
        return longest * self._chance.uniform(0.5, 1.0)

    def failure(self) -> str:
        """What to say when none answers: each endpoint and its last error."""
        errors = "; ".join(f"{endpoint.url}: {endpoint.error}" for endpoint in self.all)
        return f"no endpoint answered for {self._patience_s:g} s: {errors}"

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
