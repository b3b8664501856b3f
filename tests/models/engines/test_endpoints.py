import asyncio
import random

import pytest

from models.engines.endpoints import FIRST_S, LAST_S, Endpoint, Endpoints
from perseid.engine import EngineFailure


def three(patience_s: float = 10.0, *up: str) -> Endpoints:
    made = Endpoints("abc", patience_s, random.Random(0))
    for endpoint in made.all:
        endpoint.up = endpoint.url in (up or "abc")
    return made


async def taken(made: Endpoints, avoid: Endpoint | None = None) -> str:
    return (await made.take(asyncio.get_running_loop().time(), avoid)).url


def test_the_least_loaded_is_taken_and_ties_go_round() -> None:
    async def order() -> str:
        made = three()
        first = "".join([await taken(made) for _ in range(6)])
        made.all[1].in_flight -= 2
        return first + "".join([await taken(made) for _ in range(5)])

    assert asyncio.run(order()) == "abcabc" + "bbcab"


def test_what_just_failed_is_avoided_while_another_is_up() -> None:
    async def order() -> str:
        made = three(10.0, "a", "b")
        made.all[1].in_flight = 5
        first = await taken(made, avoid=made.all[0])
        made.all[1].up = False
        return first + await taken(made, avoid=made.all[0])

    assert asyncio.run(order()) == "ba"


def test_with_none_up_a_request_waits_for_one_until_patience_ends() -> None:
    async def waited() -> str:
        made = three(0.2, "none")
        with pytest.raises(EngineFailure, match=r"no endpoint answered for 0.2 s: a: not asked yet; b: .*; c: "):
            await taken(made)
        waiting = asyncio.ensure_future(taken(made))
        await asyncio.sleep(0)
        watching = asyncio.ensure_future(made.watch(made.all[2], well))
        found = await waiting
        watching.cancel()
        return found

    assert asyncio.run(waited()) == "c"


async def well(endpoint: Endpoint) -> str:
    return ""


def test_what_a_probe_raises_ends_the_waiting() -> None:
    async def broken(endpoint: Endpoint) -> str:
        raise UnicodeError("label empty or too long")

    async def wait() -> str:
        made = three(10.0, "none")
        watching = asyncio.ensure_future(made.watch(made.all[0], broken))
        try:
            return await taken(made)
        finally:
            await watching

    with pytest.raises(UnicodeError, match="label empty"):
        asyncio.run(wait())


def test_a_pause_that_a_server_asks_for_leaves_time_to_ask_it_again() -> None:
    made = three(300.0)
    made.failed(made.all[0], 0, "busy", 999_999.0)
    made.failed(made.all[1], 0, "busy", 20.0)
    assert [endpoint.rest_s for endpoint in made.all] == [150.0, 20.0, 0.0]


def test_a_failure_from_before_the_last_fall_says_nothing() -> None:
    async def falls() -> tuple[bool, int, int, str]:
        made = three()
        endpoint, before = made.all[0], made.all[0].falls
        made.failed(endpoint, before, "first")
        endpoint.up = True
        made.failed(endpoint, before, "late")
        made.answered(endpoint, before)
        return endpoint.up, endpoint.falls, endpoint.failures, endpoint.error

    assert asyncio.run(falls()) == (True, 1, 1, "late")


def test_an_answer_ends_the_row_of_failures_and_a_probe_does_not() -> None:
    async def rows() -> list[int]:
        made, found = three(), []
        endpoint = made.all[0]
        made.failed(endpoint, endpoint.falls, "why")
        watching = asyncio.ensure_future(made.watch(endpoint, well))
        await made.changed()
        found.append(endpoint.failures)
        made.answered(endpoint, endpoint.falls)
        found.append(endpoint.failures)
        watching.cancel()
        return found

    assert asyncio.run(rows()) == [1, 0]


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    made = three()
    for failures, longest in ((1, FIRST_S), (2, 2 * FIRST_S), (5, 16 * FIRST_S), (40, LAST_S), (10_000, LAST_S)):
        drawn = [made.pause_s(failures) for _ in range(200)]
        assert longest / 2 <= min(drawn) < 0.6 * longest < 0.9 * longest < max(drawn) <= longest


def test_an_endpoint_that_is_up_is_probed_now_and_then() -> None:
    async def found() -> bool:
        made, answers = Endpoints("a", 10.0, random.Random(0), check_s=0.01), iter(["", "", "", "hung"])

        async def probe(endpoint: Endpoint) -> str:
            return next(answers)

        watching = asyncio.ensure_future(made.watch(made.all[0], probe))
        while made.all[0].error != "hung":
            await made.changed()
        watching.cancel()
        return made.all[0].up

    assert asyncio.run(found()) is False
