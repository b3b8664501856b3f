"""The section `engine`, one for each kind: who continues text, in this process, beside it or elsewhere.

A kind has the keys that have an effect on it, and no others. Where the engine repeats its texts to the bit
(`transformers`), what its floating point rests on decides the result. The others do not repeat in another batch, so
there `batch` and `threads` are a matter of speed. The PPM is computed in this process whatever the kind.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from perseid.section import DISCRIMINATOR, OPERATIONAL, Section

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0.0)]
LiveTrees = Annotated[int, Field(ge=1), OPERATIONAL]


class Transformers(Section):
    """In this process."""

    kind: Annotated[Literal["transformers"], DISCRIMINATOR] = "transformers"
    batch: Positive = 512  # sequences decoded together
    threads: Positive = 2  # fixed, not the machine's: float sums depend on it, and with it the data versions
    live_trees: LiveTrees = 4096  # trees searched at once; the others wait, which bounds memory


class Vllm(Section):
    """vLLM beside this process."""

    kind: Annotated[Literal["vllm"], DISCRIMINATOR] = "vllm"
    batch: Annotated[Positive, OPERATIONAL] = 512
    threads: Annotated[Positive, OPERATIONAL] = 2
    live_trees: LiveTrees = 4096
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"  # what it computes in
    memory_gib: Annotated[float, Field(gt=0.0), OPERATIONAL] = 2.0  # on a CPU: its KV cache
    memory_share: Annotated[float, Field(gt=0.0, le=1.0), OPERATIONAL] = 0.9  # on a GPU: of the device's memory


class Server(Section):
    """OpenAI-compatible servers elsewhere."""

    kind: Annotated[Literal["server"], DISCRIMINATOR] = "server"
    endpoints: Annotated[tuple[str, ...], Field(min_length=1), OPERATIONAL]  # base URLs, "http://127.0.0.1:8000/v1"
    model: str = ""  # the served model's name; "" asks for the policy's own, named by the hash of its weights
    batch: Annotated[Positive, OPERATIONAL] = 512  # requests under way
    threads: Annotated[Positive, OPERATIONAL] = 2
    live_trees: LiveTrees = 4096
    timeout_s: Annotated[Seconds, OPERATIONAL] = 120.0  # for one completion
    patience_s: Annotated[float, Field(ge=0.0), OPERATIONAL] = 300.0  # of all endpoints down, before the run stops


def _kind_named(value: Any) -> Any:
    return {"kind": "transformers", **value} if isinstance(value, dict) else value


Engine = Annotated[Transformers | Vllm | Server, Field(discriminator="kind"), BeforeValidator(_kind_named)]
KINDS = ("transformers", "vllm", "server")
