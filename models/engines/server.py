"""The engine over servers elsewhere: a list of OpenAI-compatible completions endpoints, `vllm serve` on other machines.

Which weights answer is settled before a request is sent. By default the name that is asked for is the checkpoint's own
hash: an endpoint that does not list it is not used, and an answer in another model's name is no answer. That name is
what `vllm serve FOLDER --served-model-name HASH` was told; nothing can prove from afar that FOLDER was the right one.
With `engine.model` that name is asked for, and `weights` is a hash of it and of the `id` and `root` that `GET /models`
tells, on which all endpoints must agree. It is as good as the name: other weights put in the same place under the same
name keep it, and how they were quantised or adapted is not seen.

What an answer means is in `completions.py`, and is what it means for the transformers engine; sampled texts differ
from that engine's, as the same seed drives another generator and floating point depends on who shares a batch. Which
endpoint is asked is in `endpoints.py`: one that fails is left until it is back, its requests are asked elsewhere, and
an answer is used once or not at all. `EngineFailure` when none answers for `engine.patience_s`.

Each call hops to a thread with an event loop of its own, so that one engine serves any number of `asyncio.run`. At most
`engine.batch` requests are under way. A key is read from the environment variable PERSEID_API_KEY, and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import random
import shlex
import threading
from collections.abc import Collection, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from models.checkpoint import weights_hash
from models.engines.completions import Client, Failed, Served, session
from models.engines.endpoints import CHECK_S, Endpoint, Endpoints
from models.weights import Weights, rank_of, told_in
from perseid import experiment
from perseid.engine import Completion, EngineFailure, Generate
from perseid.engines import API_KEY, checked_key
from perseid.errors import UserError

if TYPE_CHECKING:
    from aiohttp import ClientSession

KEY: Final = API_KEY
T = TypeVar("T")


class ServerEngine:
    """An `Engine` over `settings.endpoints`, open between `with` and its end.

    Entering raises `UserError` when none of them serves the weights within `settings.patience_s`.
    """

    def __init__(self, folder: Path, settings: experiment.Server) -> None:
        self.concurrency = settings.batch
        self.weights = "" if settings.model else weights_hash(folder)
        self._folder, self._settings = Path(folder), settings
        self._renderer = None if told_in(self._folder) is None else Weights.of(self._folder).renderer()
        self._model = settings.model or self.weights
        self._urls = list(settings.endpoints)
        self._told: tuple[str, str] | None = None  # id and root of `settings.model`
        self._mistake: UserError | None = None
        self._session: ClientSession | None = None

    def __enter__(self) -> ServerEngine:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="perseid-server-engine", daemon=True)
        self._thread.start()
        try:
            self._there(self._start()).result()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._there(self._stop()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        """One completion a request, in order; cancelled, its requests are cancelled at the servers.

        Raises `EngineFailure` when no endpoint answers, `UserError` when one says that it never will.
        """
        return await asyncio.wrap_future(self._there(self._generate(requests)))

    def _there(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # What follows runs on the engine's own loop.

    async def _start(self) -> None:
        settings, loop, key = self._settings, asyncio.get_running_loop(), checked_key(os.environ)
        self._slots = asyncio.Semaphore(settings.batch)
        self._session = session(settings.batch + len(self._urls), settings.timeout_s, key)
        self._client = Client(self._session, self._model, not settings.model, key, self._renderer)
        self._endpoints = Endpoints(self._urls, settings.patience_s, random.Random())
        self._watching = [loop.create_task(self._endpoints.watch(e, self._probe)) for e in self._endpoints.all]
        await self._someone(loop.time())
        if self._told is not None:
            self.weights = hashlib.sha256("\0".join((self._model, *self._told)).encode()).hexdigest()[:16]

    async def _someone(self, since_s: float) -> None:
        """Until each endpoint has been probed and one is up."""
        while not all(endpoint.probed for endpoint in self._endpoints.all):
            await self._endpoints.changed()
        if self._mistake is not None:
            raise self._mistake
        try:
            found = await self._endpoints.take(since_s)
            found.in_flight -= 1
        except EngineFailure as error:
            command = serving(self._folder, self._model, urlsplit(self._urls[0]).port or 8000)
            expected = f"expected a server of the model {self._model}, which this starts: {command}; found: {error}"
            raise UserError("engine", "endpoints", expected) from error

    async def _stop(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await _cancelled(others)
        if self._session is not None:
            await self._session.close()

    async def _probe(self, endpoint: Endpoint) -> str:
        """What is wrong with an endpoint, "" where it is alive and serves the weights."""
        try:
            async with asyncio.timeout(CHECK_S):
                models = {model.id: model for model in await self._client.served(endpoint.url)}
        except TimeoutError:
            return f"no answer to a probe in {CHECK_S:g} s"
        except UserError as error:
            self._mistake = error
            return error.expected
        except Failed as error:
            return str(error)
        if self._model not in models:
            return f"serves {self._client.said(', '.join(models)) or 'nothing'}, not {self._model}"
        return self._disagrees(models[self._model]) if self._settings.model else ""

    def _disagrees(self, served: Served) -> str:
        """All endpoints must tell the same of a model that is known by its name alone."""
        told = (served.id, served.root or "")
        self._told = self._told or told
        if told == self._told:
            return ""
        here, there = (self._client.said(root) or "nowhere" for _, root in (told, self._told))
        why = f"reads {self._model} from {here}, another from {there}"
        self._mistake = UserError("engine", "endpoints", f"expected the same model everywhere; an endpoint {why}")
        return why

    async def _generate(self, requests: Sequence[Generate]) -> list[Completion]:
        tasks = [asyncio.ensure_future(self._one(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks)
        finally:
            await _cancelled(tasks)

    async def _one(self, request: Generate) -> Completion:
        """Ask one endpoint after the other until one answers."""
        now_s, endpoint = asyncio.get_running_loop().time, None
        async with self._slots:
            since_s = now_s()
            for attempt in itertools.count(1):
                endpoint = await self._endpoints.take(since_s, avoid=endpoint)
                falls = endpoint.falls
                try:
                    completion = await self._client.complete(endpoint.url, request)
                except Failed as error:
                    self._endpoints.failed(endpoint, falls, str(error), error.rest_s)
                else:
                    self._endpoints.answered(endpoint, falls)
                    return completion
                finally:
                    endpoint.in_flight -= 1
                since_s = now_s() if attempt == 1 else since_s
                if now_s() - since_s > self._settings.patience_s:
                    raise EngineFailure(self._endpoints.failure())
                await asyncio.sleep(self._endpoints.pause_s(attempt))
        raise AssertionError


def serving(folder: Path, name: str, port: int) -> str:
    """The command that serves a checkpoint under a name: an adapter beside its base."""
    weights = Weights.of(folder) if told_in(folder) else None
    base, named = folder if weights is None else weights.base, shlex.quote(name)
    how = f"--served-model-name {named}"
    if weights is not None and weights.adapter is not None:
        beside = f"{named}={shlex.quote(str(weights.adapter.absolute()))}"
        how = f"--enable-lora --max-lora-rank {rank_of(weights.adapter)} --lora-modules {beside}"
    return f"vllm serve {shlex.quote(str(base.absolute()))} {how} --dtype float32 --port {port}"


async def _cancelled(tasks: Collection[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
