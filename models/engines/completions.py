"""What is said to an OpenAI-compatible completions endpoint, and what its answers mean.

Text, stop string and number of tokens mean what they mean for the transformers engine. vLLM is therefore told to add no
token to the prompt, to show special tokens, to use no default of the model's (`generation_config.json`), and to end at
the model's own end-of-sequence token only where `END` is asked for: a stop string that is that token is else met as
text, and `stop_reason` names it. Prompts of a pretrained checkpoint are sent as its tokens, for as one text they might
be cut into others; where its tokenizer is not at hand, a prompt is sent as text. Two differences remain: vLLM also
stops where ordinary tokens spell a stop string, and it drops a last character whose bytes the length limit cut.

An answer is whole and of the right types, or it is a `Failed`, which another endpoint or another time may mend. What
no retry mends is a `UserError`: a wrong key or address, a model that is not there, a request that the server does not
understand. One thing is the request's own fault and is answered by a refusal: a prompt that leaves no room in the
context. The key is sent as bearer and shown nowhere, though a server repeat it.

A server is not trusted: an answer's bytes are bounded by what was asked for and never decompressed, its tokens and text
must be possible for the request, and what it says is shown on one line, cut and escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from models.render import Renderer
from perseid.engine import END, Completion, Generate
from perseid.errors import UserError, printable

try:
    import aiohttp
    from aiohttp import ClientSession
except ImportError as missing:
    raise UserError("engine", "kind", "expected aiohttp for kind server: pip install aiohttp") from missing

IDLE_S: Final = 2.0  # a connection is not used again after; uvicorn closes its own after 5
CONNECT_S: Final = 10.0
KIB: Final = 1024
MESSAGE: Final = 64 * KIB  # bytes of an answer besides its text: ids, usage, an error
TOKEN: Final = KIB  # bytes that a token's text may take in JSON, where a character may take twelve
LONGEST: Final = 256  # characters of a token: the longest in use are runs of 128 blanks
LISTED: Final = 4096 * KIB  # bytes of a list of models, or of the tokens of a prompt in the longest contexts
COMPLAINTS: Final = (400, 413, 422)  # about a request
NEVER: Final = (401, 403, 404)  # about the key, the address or the model
TOO_LONG: Final = re.compile(r"context (length|window|size)|too (long|large|many tokens)|max_model_len", re.IGNORECASE)
M = TypeVar("M", bound=BaseModel)


class Failed(Exception):
    """A request failed for a reason that another endpoint or another time may not have; rest_s: the pause asked for."""

    def __init__(self, why: str, rest_s: float = 0.0) -> None:
        super().__init__(why)
        self.rest_s = rest_s


class Served(BaseModel, strict=True):
    """A model that an endpoint lists, in its words; `root` is where vLLM read it from."""

    id: str
    root: str | None = None


class Choice(BaseModel, strict=True):
    """One text, how it ended, and vLLM's word for what ended it."""

    text: str
    finish_reason: Literal["stop", "length"]
    stop_reason: str | int | None = None


class _Listed(BaseModel, strict=True):
    data: list[Served]


class _Usage(BaseModel, strict=True):
    completion_tokens: int = Field(ge=0)


class _Answer(BaseModel, strict=True):
    model: str
    choices: list[Choice] = Field(min_length=1, max_length=1)
    usage: _Usage


class _Counted(BaseModel, strict=True):
    count: int
    max_model_len: int


@dataclass(frozen=True)
class Client:
    """Talks to endpoints, each named by its base URL, of the model `model`. `exact`: it must answer in that name.

    renderer: of the checkpoint, where prompts are sent as tokens.
    """

    session: ClientSession
    model: str
    exact: bool
    key: str
    renderer: Renderer | None = None

    async def served(self, url: str) -> list[Served]:
        """The models that a living endpoint lists. Raises `Failed`, `UserError`."""
        _, listed = await self._send("GET", url, "/models", most=LISTED)
        models = _read(_Listed, listed).data
        await self._send("GET", _root(url), "/health", absent=404)
        return models

    async def complete(self, url: str, request: Generate) -> Completion:
        """What the endpoint answers to `request`, or a refusal. Raises `Failed`, `UserError`."""
        body = asked(request, self.model, self.renderer)
        most = MESSAGE + TOKEN * request.sampling.max_tokens
        status, content = await self._send("POST", url, "/completions", body, most=most)
        if status in COMPLAINTS:
            room, why = await self._room(url, request, self._message(content))
            if why:
                return Completion("", "", 0, refusal=why)
            if 0 < room < request.sampling.max_tokens:
                status, content = await self._send("POST", url, "/completions", {**body, "max_tokens": room}, most=most)
        if status in COMPLAINTS:
            raise _never(url, f"POST /completions answers {status}: {self._message(content)}")
        answer = _read(_Answer, content)
        if self.exact and answer.model != self.model:
            raise Failed(f"answered as model {self.said(answer.model)}, not {self.model}")
        choice, tokens = answer.choices[0], answer.usage.completion_tokens
        stop = stop_met(choice, request.sampling.stop, () if self.renderer is None else self.renderer.ends)
        if stop is None:
            told = self.said(repr(choice.stop_reason))
            found = f"a text ended, stop_reason {told}, asked to end at {request.sampling.stop}"
            raise _never(url, f"{found}: expected vLLM's stop_reason to name the stop string")
        if impossible := refuted(choice.text, tokens, request):
            raise Failed(f"malformed answer: {impossible}")
        return Completion(choice.text, stop, tokens)

    async def _room(self, url: str, request: Generate, said: str) -> tuple[int, str]:
        """Tokens that the context leaves after `prompt`, 0 if unknown, and why there are none, "" if that is not so.

        vLLM refuses a prompt whose limit passes the context, where the transformers engine ends with the context.
        """
        body = {"model": self.model, "prompt": request.prompt.text, "add_special_tokens": False}
        status, content = await self._send("POST", _root(url), "/tokenize", body, absent=404, most=LISTED)
        if status != 200:
            return 0, said if TOO_LONG.search(said) else ""
        counted = _read(_Counted, content)
        count = counted.count if self.renderer is None else len(self.renderer.encode(request.prompt))
        room = counted.max_model_len - count
        why = f"a prompt of {count} tokens leaves no room in a context of {counted.max_model_len}"
        return room, "" if room > 0 else why

    async def _send(
        self, method: str, url: str, path: str, body: object = None, absent: int = 0, most: int = MESSAGE
    ) -> tuple[int, bytes]:
        """Status and content: 200, a complaint about the request, or `absent`, a status that is no mistake here.

        most: bytes of the content; a longer one is a failure, and is not read to its end.
        """
        try:
            async with self.session.request(method, url + path, json=body, allow_redirects=False) as response:
                status, content = response.status, await _content(response, most)
                rest_s = _seconds(response.headers.get("Retry-After", ""))
        except TimeoutError:
            raise Failed(f"{method} {path}: no answer in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Failed(f"{method} {path}: {type(error).__name__}: {self.said(str(error))}") from None
        except ValueError as error:  # an address or a header that cannot be sent
            raise _never(url, self.said(str(error))) from None
        if status in (200, absent) or (status in COMPLAINTS and body is not None):
            return status, content
        why = f"{method} {path} answers {status}: {self._message(content)}"
        if status in NEVER:
            raise _never(url, why)
        raise Failed(why, rest_s)

    def _message(self, content: bytes) -> str:
        """A server's message, as `said`."""
        try:
            message = json.loads(content)["error"]["message"]
        except (ValueError, TypeError, KeyError, IndexError, RecursionError):
            message = content.decode(errors="replace")
        return self.said(str(message)) or "nothing more"

    def said(self, text: str) -> str:
        """What a server said, fit to be shown: short, on one line, and without the key, which it may repeat."""
        return printable(re.sub(re.escape(self.key), "***", text, flags=re.IGNORECASE) if self.key else text)


async def _content(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The content as it was sent, of an error its beginning.

    Raises `Failed` once an answer is longer than `most` bytes, and where it is compressed.
    """
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise Failed("malformed answer: compressed, though none was asked for")
    content = bytearray()
    async for part in response.content.iter_any():
        content += part
        if len(content) > most:
            response.close()
            if response.status != 200:
                break
            raise Failed(f"malformed answer: over {most:,} bytes")
    return bytes(content[:most])


def session(connections: int, timeout_s: float, key: str) -> ClientSession:
    """Connections for a `Client`; to be made and closed on the event loop that uses it."""
    return ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=IDLE_S),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S),
        headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def asked(request: Generate, model: str, renderer: Renderer | None = None) -> dict[str, object]:
    """The body of a completions request. What it sets beyond the sampling would else come from the served model."""
    sampling = request.sampling
    ends = END in sampling.stop
    known = {"stop_token_ids": list(renderer.ends)} if renderer is not None and ends else {}
    return {
        "model": model,
        "prompt": request.prompt.text if renderer is None else renderer.encode(request.prompt),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": request.seed % 2**63,
        "stop": [stop for stop in sampling.stop if stop != END],
        "n": 1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": sampling.repetition_penalty,
        "top_k": sampling.top_k or -1,
        "min_p": sampling.min_p,
        "ignore_eos": not ends,
        **known,
        "add_special_tokens": False,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "include_stop_str_in_output": False,
    }


def stop_met(choice: Choice, stops: Sequence[str], ends: Sequence[int] = ()) -> str | None:
    """The stop string that ended a text, "" for the length limit, None where the answer does not say.

    Without the field `stop_reason`, a single stop string is the one. Where it is null, vLLM met the model's own end of
    sequence: `END`, or what it was told to ignore. ends: tokens that are `END` too.
    """
    if choice.finish_reason == "length":
        return ""
    if "stop_reason" not in choice.model_fields_set and len(stops) == 1:
        return stops[0]
    if END in stops and "stop_reason" in choice.model_fields_set and choice.stop_reason in (None, *ends):
        return END
    return choice.stop_reason if isinstance(choice.stop_reason, str) and choice.stop_reason in stops else None


def refuted(text: str, tokens: int, request: Generate) -> str:
    """Why no model can have answered `request` so; "" if one can."""
    sampling = request.sampling
    if tokens > sampling.max_tokens:
        return f"completion_tokens above max_tokens, {sampling.max_tokens}"
    if len(text) > LONGEST * tokens:
        return f"{len(text):,} characters in {tokens} tokens"
    if met := next((stop for stop in sampling.stop if stop != END and stop in text), ""):
        return f"a text that goes on after {met!r}"
    return ""


def _read(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise Failed(f"malformed answer: {where}: {first['msg']}") from None


def _never(url: str, why: str) -> UserError:
    return UserError("engine", "endpoints", f"expected {url} to serve completions; {why}")


def _root(url: str) -> str:
    """Where vLLM's own routes are: beside the OpenAI-compatible ones."""
    return url.removesuffix("/v1")


def _seconds(retry_after: str) -> float:
    return float(retry_after[:6]) if retry_after.isdecimal() else 0.0
