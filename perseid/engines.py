"""The section `engine`, one for each kind: who continues text, in this process, beside it or elsewhere.

A kind has the keys that have an effect on it, and no others. Where the engine repeats its texts to the bit
(`transformers`), what its floating point rests on decides the result. The others do not repeat in another batch, so
there `batch` and `threads` are a matter of speed. The PPM is computed in this process whatever the kind.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from perseid.errors import UserError
from perseid.mistakes import mistake
from perseid.section import DISCRIMINATOR, OPERATIONAL, Section

API_KEY: Final = "PERSEID_API_KEY"  # the environment variable that holds the servers' key
MAX_URL: Final = 2048  # characters
LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
EXAMPLE: Final = "expected a URL like http://127.0.0.1:8000/v1, without a key or password"

Batch = Annotated[int, Field(ge=1, le=65_536)]
Threads = Annotated[int, Field(ge=1, le=1024)]  # more than machines have cores
Dtype = Literal["float32", "bfloat16", "float16"]
LiveTrees = Annotated[int, Field(ge=1, le=1_000_000), OPERATIONAL]


def base_url(url: str) -> str:
    """`url` without a last slash, if it can be a server's base URL. Raises a mistake that never shows it."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:  # of brackets and ports; the reason would show the address
        raise mistake("", f"{EXAMPLE}; its host or port cannot be read") from None
    if reason := _misshapen(url, parts) or _no_host(host or ""):
        raise mistake("", f"{EXAMPLE}; {reason}")
    if port == 0 or parts.netloc.endswith(":"):
        raise mistake("", f"{EXAMPLE}; expected a port in [1, 65535]")
    return url.rstrip("/")


def _misshapen(url: str, parts: SplitResult) -> str:
    if not url.isascii() or not url.isprintable() or re.search(r'[\s"<>\\^`{|}]', url):
        return "it holds characters that a URL cannot hold"
    if len(url) > MAX_URL:
        return f"it has more than {MAX_URL:,} characters"
    if parts.scheme not in ("http", "https") or not url.lower().startswith(f"{parts.scheme}://"):
        return "it begins with neither http:// nor https://"
    if "@" in parts.netloc:
        return f"it holds a user or a password; a key is read from {API_KEY}"
    return "it holds a query or a fragment" if "?" in url or "#" in url else ""


def _no_host(host: str) -> str:
    """Why `host` names no machine, "" if it does."""
    if ":" in host or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return "its host is no IP address"
        return ""
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        return "its host is no host name"
    return ""


def checked_key(environment: Mapping[str, str]) -> str:
    """The servers' key, "" for none. Raises `UserError`, which does not show it, for one that no header can carry."""
    key = environment.get(API_KEY, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key or len(key) > MAX_URL:
        expected = f"expected a key of printable ASCII characters without blanks, at most {MAX_URL:,} of them"
        raise UserError(API_KEY, "", expected)
    return key


def _served_name(name: str) -> str:
    if not name.isprintable() or len(name) > 256:
        raise mistake("", "expected the name under which the model is served, at most 256 printable characters")
    return name


def _distinct(urls: tuple[str, ...]) -> tuple[str, ...]:
    for position, url in enumerate(urls, 1):
        if url in urls[: position - 1]:
            raise mistake(str(position), "expected each endpoint once")
    return urls


Endpoint = Annotated[str, AfterValidator(base_url)]
Endpoints = Annotated[tuple[Endpoint, ...], Strict(False), Field(min_length=1, max_length=1000), OPERATIONAL]


class Transformers(Section):
    """In this process."""

    kind: Annotated[Literal["transformers"], DISCRIMINATOR] = "transformers"
    batch: Batch = 512  # sequences decoded together
    threads: Threads = 2  # fixed, not the machine's: float sums depend on it, and with it the data versions
    live_trees: LiveTrees = 4096  # trees searched at once; the others wait, which bounds memory
    dtype: Dtype = "float32"  # what policy and PPM are computed in

    @property
    def scoring(self) -> Dtype:
        """What the PPM is computed in."""
        return self.dtype


class Vllm(Section):
    """vLLM beside this process."""

    MOST_RANK: ClassVar[int] = 512  # of an adapter

    kind: Annotated[Literal["vllm"], DISCRIMINATOR] = "vllm"
    batch: Annotated[Batch, OPERATIONAL] = 512
    threads: Annotated[Threads, OPERATIONAL] = 2
    live_trees: LiveTrees = 4096
    dtype: Dtype = "float32"  # what it computes in
    context: int = Field(0, ge=0, le=10_000_000)  # tokens of a text that memory is kept for; 0: the policy's own
    tensor_parallel: Annotated[int, Field(ge=1, le=1024), OPERATIONAL] = 1  # GPUs that share each layer
    step_tokens: Annotated[int, Field(ge=0, le=10_000_000), OPERATIONAL] = 0  # computed at once; 0: as vLLM has it
    memory_gib: Annotated[float, OPERATIONAL] = Field(2.0, gt=0.0, le=65_536.0)  # on a CPU: its KV cache
    memory_share: Annotated[float, OPERATIONAL] = Field(0.9, gt=0.0, le=1.0)  # on a GPU: of the device's memory

    @property
    def scoring(self) -> Dtype:
        """What the PPM is computed in, in this process."""
        return "float32"


class Server(Section):
    """OpenAI-compatible servers elsewhere."""

    kind: Annotated[Literal["server"], DISCRIMINATOR] = "server"
    endpoints: Annotated[Endpoints, AfterValidator(_distinct)]  # base URLs, "http://127.0.0.1:8000/v1"
    model: Annotated[str, AfterValidator(_served_name)] = ""  # "" asks for the policy by the hash of its weights
    batch: Annotated[Batch, OPERATIONAL] = 512  # requests under way
    threads: Annotated[Threads, OPERATIONAL] = 2
    live_trees: LiveTrees = 4096
    timeout_s: Annotated[float, OPERATIONAL] = Field(120.0, gt=0.0, le=86_400.0)  # for one completion
    patience_s: Annotated[float, OPERATIONAL] = Field(300.0, ge=0.0, le=604_800.0)  # of all down, until the run stops

    @property
    def scoring(self) -> Dtype:
        """What the PPM is computed in, in this process."""
        return "float32"


def _kind_named(value: Any) -> Any:
    return {"kind": "transformers", **value} if isinstance(value, dict) else value


Engine = Annotated[Transformers | Vllm | Server, Field(discriminator="kind"), BeforeValidator(_kind_named)]
