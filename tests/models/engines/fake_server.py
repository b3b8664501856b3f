"""A small real HTTP server on loopback that answers completions by rule, and fails as it is told."""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from models.engines.scripted import Choices
from perseid.engine import Completion

STEP, ANSWER = "<|end_of_step|>", "<|end_of_answer|>"
Headers = dict[str, str]


def options(prompt: str) -> list[tuple[str, str]]:
    return [(f"{prompt} é", STEP), ("two words", ANSWER), ("cut \n short", "")]


def rule(prompt: str, seed: int) -> Completion:
    """What the fake server answers: the seed comes to it without its highest bit."""
    return Choices(options)(prompt, seed % 2**63)


class FakeServer:
    """Answers completions by `rule`; `fate(number)` says what becomes of the request of that number."""

    def __init__(self, model: str) -> None:
        self.model, self.root, self.rule = model, "/weights", rule
        self.fate: Callable[[int], str] = lambda number: "answer"
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Headers] = []
        self.fates: Counter[str] = Counter()
        self.under_way = self.most = 0
        self.healthy, self.tokenizes, self.context = True, True, 100
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def live(self) -> None:
        async def live() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)

        self._do(live())

    def die(self) -> None:
        """Nothing listens, and every connection is reset."""

        async def die() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in self._writers:
                self._reset(writer)

        self._do(die())

    def later(self, delay_s: float, do: Callable[[], None]) -> None:
        threading.Timer(delay_s, do).start()

    def end(self) -> None:
        async def end() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.die()
        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @staticmethod
    def _reset(writer: asyncio.StreamWriter) -> None:
        plug = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                headers = {line.split(":")[0].lower(): line.split(":", 1)[1].strip() for line in lines}
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or "null")
                await self._answer(first.split()[1], headers, body, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()  # what the client never read is dropped by `die`
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._writers.discard(writer)

    async def _answer(
        self, path: str, headers: Headers, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.headers.append(headers)
        if path == "/v1/models":
            return self._say(writer, 200, {"object": "list", "data": [{"id": self.model, "root": self.root}]})
        if path == "/health":
            return self._say(writer, 200 if self.healthy else 503, {})
        if path == "/tokenize":
            count = len(body["prompt"].split())
            found = {"count": count, "max_model_len": self.context, "tokens": [0] * count}
            return self._say(writer, 200, found) if self.tokenizes else self._say(writer, 404, {})
        self.asked.append(body)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            fate = self.fate(len(self.asked))
            self.fates[fate] += 1
            await (reader.read(1) if fate == "hang" else self._meet(fate, body, writer))
        finally:
            self.under_way -= 1

    async def _meet(self, fate: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        found = self.rule(body["prompt"], body["seed"])
        choice = {"index": 0, "text": found.text, "finish_reason": "stop" if found.stop else "length"}
        choice["stop_reason"] = found.stop or None
        answer: dict[str, Any] = {"model": body["model"], "choices": [choice]}
        answer["usage"] = {"prompt_tokens": 3, "completion_tokens": found.num_tokens}
        if body["model"] != self.model:
            fate = "404"
        elif len(body["prompt"].split()) + body["max_tokens"] > self.context:
            fate = "too long"
        match fate:
            case "answer":
                self._say(writer, 200, answer)
            case "slow":
                await asyncio.sleep(0.05)
                self._say(writer, 200, answer)
            case "close":
                writer.close()
            case "reset":
                self._reset(writer)
            case "half":
                whole = self._message(200, json.dumps(answer).encode())
                writer.write(whole[: len(whole) - 20])
                await asyncio.sleep(0.01)
                self._reset(writer)
            case "garbage":
                writer.write(self._message(200, b"<html>hello</html>"))
            case "no http":
                writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                writer.close()
            case "no usage":
                self._say(writer, 200, {"model": self.model, "choices": [choice]})
            case "wrong type":
                self._say(writer, 200, {**answer, "choices": [{**choice, "text": 7}]})
            case "two choices":
                self._say(writer, 200, {**answer, "choices": [choice, choice]})
            case "aborted":
                self._say(writer, 200, {**answer, "choices": [{**choice, "finish_reason": "abort"}]})
            case "another model":
                self._say(writer, 200, {**answer, "model": "another"})
            case "many tokens":
                self._say(writer, 200, {**answer, "usage": {"prompt_tokens": 3, "completion_tokens": 10**30}})
            case "no tokens":
                self._say(writer, 200, {**answer, "usage": {"prompt_tokens": 3, "completion_tokens": 0}})
            case "long text":
                self._say(writer, 200, {**answer, "choices": [{**choice, "text": "word " * 1_000_000}]})
            case "dense text":
                self._say(writer, 200, {**answer, "choices": [{**choice, "text": "word" * 2000}]})
            case "goes on":
                self._say(writer, 200, {**answer, "choices": [{**choice, "text": f"a{body['stop'][0]}b"}]})
            case "compressed":
                bomb = gzip.compress(bytes(2**24))
                writer.write(self._message(200, bomb, "content-encoding: gzip\r\n"))
            case "endless":
                writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
                with contextlib.suppress(OSError):
                    while not writer.is_closing():
                        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
                        await writer.drain()
            case "deep":
                writer.write(self._message(400, b'{"error":' * 100_000))
            case "echo":
                key = self.headers[-1].get("authorization", "")
                self._say(writer, 200, {**answer, "choices": [{**choice, "finish_reason": "stop", "stop_reason": key}]})
            case "controls":
                self._error(writer, 401, "\x1b[2J\x1b]0;owned\x07 line\nline \u202e" + "x" * 600_000)
            case "no reason":
                del choice["stop_reason"]
                self._say(writer, 200, answer)
            case "end of sequence":
                self._say(
                    writer, 200, {**answer, "choices": [{**choice, "finish_reason": "stop", "stop_reason": None}]}
                )
            case "too long":
                self._error(writer, 400, f"This model's maximum context length is {self.context} tokens.")
            case "busy":
                writer.write(self._message(429, b"{}", "retry-after: 1\r\n"))
            case status:
                self._error(writer, int(status), f"you sent {self.headers[-1].get('authorization', 'no key')}")

    def _error(self, writer: asyncio.StreamWriter, status: int, message: str) -> None:
        self._say(writer, status, {"error": {"message": message, "type": "x", "param": None, "code": status}})

    def _say(self, writer: asyncio.StreamWriter, status: int, body: object) -> None:
        writer.write(self._message(status, json.dumps(body).encode()))

    @staticmethod
    def _message(status: int, body: bytes, headers: str = "") -> bytes:
        length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return f"HTTP/1.1 {status} X\r\n{headers}{length}\r\n".encode() + body


FAILURES = ("close", "reset", "half", "garbage", "no http", "no usage", "wrong type", "two choices", "aborted")
FAILURES += ("another model", "500", "503", "302")
FAILURES += ("many tokens", "no tokens", "long text", "dense text", "goes on", "compressed", "endless")
