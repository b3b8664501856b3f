"""Addresses and keys of servers: refused where no request could ever be sent, and never shown."""

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from perseid.engines import API_KEY, Server, base_url, checked_key
from perseid.errors import UserError


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://models.example.org/v1/", "https://models.example.org/v1"),
        ("http://[::1]:65535/v1", "http://[::1]:65535/v1"),
        ("http://gpu_01:1", "http://gpu_01:1"),
        ("http://host./a%20b", "http://host./a%20b"),
    ],
)
def test_an_address_that_can_be_asked_is_taken_without_its_last_slash(url: str, taken: str) -> None:
    assert base_url(url) == taken


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("foo", "neither http:// nor https://"),
        ("", "neither http:// nor https://"),
        ("sesame:8000/v1", "neither http:// nor https://"),
        ("ftp://sesame/v1", "neither http:// nor https://"),
        ("http:/sesame/v1", "neither http:// nor https://"),
        ("http://", "host name"),
        ("http:///v1", "host name"),
        ("http://sesame..b/v1", "host name"),
        (f"http://{'s' * 300}/v1", "host name"),
        (f"http://{'s' * 64}.org/v1", "host name"),
        ("http://-sesame/", "host name"),
        ("http://1.2.3/v1", "IP address"),
        ("http://256.1.1.1/v1", "IP address"),
        ("http://sesame:99999/v1", "host or port cannot be read"),
        ("http://sesame:port/v1", "host or port cannot be read"),
        ("http://[::1/v1", "host or port cannot be read"),
        ("http://[sesame]/v1", "host or port cannot be read"),
        ("http://sesame:0/v1", "port in [1, 65535]"),
        ("http://sesame:/v1", "port in [1, 65535]"),
        ("http://me:sesame@host/v1", "a user or a password"),
        ("http://host/v1?key=sesame", "a query or a fragment"),
        ("http://host/v1#sesame", "a query or a fragment"),
        ("http://host/?", "a query or a fragment"),
        ("http://host\n/sesame", "characters that a URL cannot hold"),
        ("http://host/\x1b[31msesame", "characters that a URL cannot hold"),
        ("http://ho st/", "characters that a URL cannot hold"),
        ("http://sésame/v1", "characters that a URL cannot hold"),
        ("http://host\\sesame/v1", "characters that a URL cannot hold"),
        (f"http://host/{'s' * 3000}", "more than 2,048 characters"),
    ],
)
def test_any_other_is_refused_with_the_reason_and_without_showing_it(url: str, why: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        base_url(url)
    assert "expected a URL like http://127.0.0.1:8000/v1" in caught.value.message()
    assert why in caught.value.message()
    assert "sesame" not in caught.value.message().lower()


def test_a_server_has_endpoints_and_each_once() -> None:
    with pytest.raises(ValidationError):
        Server(endpoints=())
    with pytest.raises(ValidationError, match="expected each endpoint once"):
        Server(endpoints=("http://a/v1", "http://b/v1", "http://a/v1/"))


@pytest.mark.parametrize("key", ["", "sk-sesame_17.~+/=", " padded\n"])
def test_a_key_that_a_header_can_carry_is_taken(key: str) -> None:
    assert checked_key({API_KEY: key}) == key.strip()
    assert checked_key({}) == ""


@pytest.mark.parametrize("key", ["sesame\nX-Other: 1", "se same", "sésame", "sesame\x7f", "s" * 3000])
def test_any_other_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(UserError, match="PERSEID_API_KEY: expected a key of printable ASCII") as caught:
        checked_key({API_KEY: key})
    assert "same" not in str(caught.value)
