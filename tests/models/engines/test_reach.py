"""Servers are asked before anything is trained: what can be known of them then."""

import socket
from collections.abc import Iterator

import pytest

from models.engines.reach import check_reach
from perseid.engines import Server
from perseid.errors import UserError
from tests.models.engines.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer("served")
    server.live()
    yield server
    server.end()


def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def settings(*endpoints: str, model: str = "") -> Server:
    return Server(kind="server", endpoints=endpoints, model=model)


def test_one_endpoint_that_answers_is_enough_whatever_it_serves_unless_a_model_is_named(server: FakeServer) -> None:
    check_reach("x", settings(dead(), server.url))
    check_reach("x", settings(server.url, model="served"))
    with pytest.raises(UserError, match="serves served, not other"):
        check_reach("x", settings(server.url, model="other"))


def test_endpoints_that_do_not_answer_are_each_named() -> None:
    first, second = dead(), dead()
    with pytest.raises(UserError, match=r"^x: engine\.endpoints: expected a server that answers") as error:
        check_reach("x", settings(first, second))
    assert [url in str(error.value) for url in (first, second)] == [True, True]


@pytest.mark.slow
def test_a_listener_that_says_nothing_is_waited_for_no_longer_than_seconds() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(UserError, match="no answer in 5 s"),
    ):
        check_reach("x", settings(f"http://127.0.0.1:{mute.getsockname()[1]}/v1"))
