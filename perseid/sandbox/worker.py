"""The host's handle on one fork server: starts it, sends it programs, turns the kernel's report into an Execution."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import importlib.util
import json
import math
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from perseid.sandbox import standard_library
from perseid.sandbox.execution import Execution, Isolation, SandboxUnavailable, Status
from perseid.sandbox.limits import Limits
from perseid.sandbox.server import seccomp

# Not -I: it would ignore PYTHONHASHSEED. The environment is `_ENVIRONMENT` and nothing else. Not the folder of
# installed packages with all that its .pth files do (-S), but the folders that hold the packages to preload.
_BOOT: Final = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); from server import forkserver; sys.path.pop(0); "
    "config = json.loads(sys.argv[4]); sys.path += config['package_folders']; "
    "forkserver.main(int(sys.argv[2]), int(sys.argv[3]), config)"
)
_ENVIRONMENT: Final = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "LC_ALL": "C.UTF-8",
}
_ADDRESS: Final = re.compile(r"(?<= at )0x[0-9a-f]{6,16}(?=[>,;])")  # as in <function f at 0x7f2a60c5d1c0>
_READ_ONLY: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_START_S: Final = 60.0
# A frozen state of 256 KiB in base 85, and the rest.
_RECORD_BYTES: Final = 400 << 10
# How long past an execution's own limit the server may stay silent before it counts as dead.
_GRACE_S: Final = 10.0


class WorkerDied(Exception):
    """The fork server is gone or silent: infrastructure, not the code."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a fork server is made of. preload: modules imported and exercised before the first fork."""

    limits: Limits
    isolation: Isolation
    prelude: str
    preload: tuple[str, ...]


class Worker:
    """One fork server process, started at the first use. One execution at a time: the caller serialises."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._closing = threading.Lock()
        self._without_namespaces = False
        self.report: dict[str, Any] | None = None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the server unless it runs. Raises `SandboxUnavailable` when it refuses, `WorkerDied` when it dies."""
        if self._socket is not None:
            return
        answer = self._launch()
        if "unavailable" in answer and str(answer["unavailable"]).endswith("retry=without"):
            self.close()
            if self._config.isolation == "auto":
                self._without_namespaces = True
                answer = self._launch()
        if "unavailable" in answer:
            self.close()
            raise SandboxUnavailable(str(answer["unavailable"]))
        self.report = answer["ready"]

    def _launch(self) -> dict[str, Any]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            fds = [theirs.fileno(), standard_library.block()]
            command = [sys.executable, "-S", "-s", "-P", "-B", "-c", _BOOT, str(Path(__file__).parent), *map(str, fds)]
            self._process = subprocess.Popen(
                [*command, json.dumps(self._server_config())],
                env=dict(_ENVIRONMENT),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
                cwd="/",
            )
        self._socket = ours
        answer: dict[str, Any] = self._receive(_START_S)
        return answer

    def _server_config(self) -> dict[str, Any]:
        limits = self._config.limits
        return {
            "isolation": self._config.isolation,
            "filters": {} if self._config.isolation == "none" else _compiled_filters(),
            "without_namespaces": self._without_namespaces,
            "prelude": self._config.prelude,
            "preload": self._config.preload,
            "package_folders": _package_folders(self._config.preload),
            "library_folder": sysconfig.get_paths()["stdlib"],
            "memory_bytes": limits.memory_bytes,
            "scratch_bytes": limits.scratch_bytes,
            "file_bytes": max(limits.output_bytes + 1, limits.scratch_bytes),
            "cpu_s": math.ceil(limits.timeout_s) + 1,
        }

    def execute(self, programs: list[Program]) -> list[Outcome]:
        """Run one program, or generated code and its tests with a socket between them, each in a fresh child.

        Raises `WorkerDied`, `SandboxUnavailable`.
        """
        self.start()
        limits = self._config.limits
        with contextlib.ExitStack() as stack:
            sent = [_Sent(program, stack) for program in programs]
            self._send({"timeout_s": limits.timeout_s}, [fd for one in sent for fd in one.fds])
            answers = self._receive(limits.timeout_s + _GRACE_S)
            return [one.judged(answer, limits) for one, answer in zip(sent, answers, strict=True)]

    def _send(self, request: dict[str, Any], fds: list[int]) -> None:
        assert self._socket is not None
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], fds)
        except OSError as error:
            self.close()
            raise WorkerDied(f"fork server unreachable: {error}") from error

    def _receive(self, timeout_s: float) -> Any:
        assert self._socket is not None
        self._socket.settimeout(timeout_s)
        try:
            message = self._socket.recv(65536)
        except OSError as error:
            self.close()
            raise WorkerDied(f"fork server silent: {error}") from error
        if not message:
            self.close()
            raise WorkerDied("fork server died")
        return json.loads(message)

    def close(self) -> None:
        """Kill the server and reap it; its children go with it. Idempotent."""
        with self._closing:
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None


@dataclass(frozen=True, slots=True)
class Program:
    """What one child is to do. role: `program`, or the `code` and the `tests` of a grading.

    keep: whether a state worth it is to be handed back. frozen: the state before the last step, as handed back then.
    """

    role: str
    steps: tuple[str, ...]
    stdin: str = ""
    entry_point: str = ""
    keep: bool = False
    frozen: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An execution, with the record's own word for how it ended (None without one) and the state it left, if kept."""

    execution: Execution
    how: str | None = None
    frozen: str = ""


class _Sent:
    """The anonymous files of one program in flight, and a /dev/null of its own."""

    def __init__(self, program: Program, stack: contextlib.ExitStack) -> None:
        self._nonce = secrets.token_hex(16)
        request = {
            "role": program.role,
            "steps": program.steps,
            "entry_point": program.entry_point,
            "keep": program.keep,
            "frozen": program.frozen,
            "nonce": self._nonce,
        }
        code = stack.enter_context(_Memory(json.dumps(request).encode()))
        stdin = stack.enter_context(_Memory(program.stdin.encode("utf-8", "replace")))
        self._output = stack.enter_context(_Memory())
        self._record = stack.enter_context(_Memory())
        null = os.open("/dev/null", os.O_RDWR)
        stack.callback(os.close, null)
        self.fds = [code.fd, stdin.fd, self._output.fd, self._record.fd, null]

    def judged(self, answer: dict[str, Any], limits: Limits) -> Outcome:
        """The verdict, once the child is gone and nobody can write any more."""
        record = _parse_record(self._record.read(_RECORD_BYTES), self._nonce if answer["confined"] else None)
        execution = judge(answer, record, self._output.read(limits.output_bytes + 1), limits)
        return Outcome(execution) if record is None else Outcome(execution, record.how, record.frozen)


def _package_folders(names: Sequence[str]) -> list[str]:
    """The folders in which the packages `names` lie. Raises `SandboxUnavailable` naming one that is not installed."""
    folders: dict[str, None] = {}
    for name in names:
        spec = importlib.util.find_spec(name.partition(".")[0])
        places = None if spec is None else spec.submodule_search_locations or [spec.origin or ""]
        if not places:
            raise SandboxUnavailable(f"preload: the package {name} is not installed")
        folders.update(dict.fromkeys(str(Path(place).parent) for place in places))
    return list(folders)


def _compiled_filters() -> dict[str, str]:
    try:
        compiled = {"scratch": seccomp.compile_filter(scratch=True), "alone": seccomp.compile_filter(scratch=False)}
        return {name: base64.b64encode(program).decode() for name, program in compiled.items()}
    except (ImportError, OSError, RuntimeError, TypeError) as error:
        raise SandboxUnavailable(
            f"seccomp: {error}; install the library libseccomp 2 (Debian, Ubuntu: apt-get install libseccomp2) and the "
            "package pyseccomp, on a kernel with CONFIG_SECCOMP_FILTER"
        ) from error


class _Memory:
    """An anonymous file, closed at the end of its `with` block; given a content, it can only be read."""

    def __init__(self, content: bytes | None = None) -> None:
        self.fd = os.memfd_create("perseid", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        if content is not None:
            written = 0
            while written < len(content):
                written += os.write(self.fd, content[written:])
            os.lseek(self.fd, 0, os.SEEK_SET)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _READ_ONLY)

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def read(self, num_bytes: int) -> bytes:
        return os.pread(self.fd, num_bytes, 0)


@dataclass(frozen=True, slots=True)
class _Record:
    """The child's own account of its end. prefix: the earlier step that ended the run, or nothing."""

    how: str
    prefix: str
    frozen: str
    message: str


def _parse_record(raw: bytes, nonce: str | None) -> _Record | None:
    """The record, or None when it is absent, malformed or without this execution's nonce (None: any)."""
    parts = raw.decode("utf-8", "replace").split("\n", 4)
    if len(parts) != 5 or nonce not in (None, parts[1]):
        return None
    return _Record(parts[0], parts[2], parts[3], parts[4])


def judge(answer: dict[str, Any], record: _Record | None, stdout: bytes, limits: Limits) -> Execution:
    """The supervisor's verdict on how an execution ended, from the kernel's report first and the record last."""
    truncated = len(stdout) > limits.output_bytes
    status, error = _status(answer, record, truncated, limits)
    code = os.waitstatus_to_exitcode(answer["wait_status"])
    return Execution(
        status=status,
        stdout=without_addresses(stdout[: limits.output_bytes].decode("utf-8", "replace")),
        error=error and without_addresses(error),
        cpu_s=answer["cpu_s"],
        wall_s=answer["wall_s"],
        exit_code=code if code >= 0 else None,
        max_rss_bytes=answer["max_rss_bytes"],
        truncated=truncated,
        tier="cpython",
    )


def without_addresses(text: str) -> str:
    """`text` with the addresses in what objects say of themselves put out: no two processes print the same."""
    return _ADDRESS.sub("0x0", text)


def _status(
    answer: dict[str, Any], record: _Record | None, truncated: bool, limits: Limits
) -> tuple[Status, str | None]:
    code = os.waitstatus_to_exitcode(answer["wait_status"])
    if answer["fate"] == "dismissed":
        return "ok", None
    if not answer["confined"]:
        why = f"exit code {code}" if record is None else record.message
        return "sandbox_error", f"the child could not be confined: {why}"
    if answer["fate"] == "stopped" or code == -signal.SIGXCPU:
        return "timeout", f"passed {limits.timeout_s:g} s"
    if truncated:
        return "output", f"printed more than {limits.output_bytes} bytes"
    if code == -signal.SIGKILL:
        if answer["cpu_s"] >= limits.timeout_s:
            return "timeout", "passed its CPU time"
        return "sandbox_error", "killed from outside (out of memory on the machine?)"
    if code < 0:
        return "crashed", f"killed by {signal.Signals(-code).name}"
    if record is None:
        return "exited", f"left with exit code {code} before its end"
    return _recorded_status(code, record)


def _recorded_status(code: int, record: _Record) -> tuple[Status, str | None]:
    if record.prefix:
        return "error", f"step {record.prefix}, run again before this one, ended otherwise: {record.message}"
    if record.how == "ok" and code == 0:
        return "ok", None
    if record.how == "memory":
        return "memory", record.message
    if record.how == "error" and code == 1:
        return "error", record.message
    return "exited", record.message or f"left with exit code {code} before its end"
