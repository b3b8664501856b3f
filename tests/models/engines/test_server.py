"""Against small real HTTP servers on loopback that fail as they are told."""

import asyncio
import importlib.util
import random
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.checkpoint import weights_hash
from models.engines import opened
from models.engines.scripted import Choices, ScriptedEngine
from models.engines.server import KEY, ServerEngine
from perseid.engine import Completion, EngineFailure, Generate, Prompt, Sampling
from perseid.errors import UserError
from perseid.experiment import Server
from perseid.formats import TOOLS
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.search import run_searches
from perseid.search.rows import tables
from tests.models.engines.fake_server import ANSWER, FAILURES, STEP, FakeServer, rule

SAMPLING = Sampling(max_tokens=16, stop=(STEP, ANSWER))
REQUESTS = [Generate(Prompt.of(f"prompt {i % 5}"), 2**63 + i, SAMPLING) for i in range(40)]


WANTED = [rule(request.prompt.text, request.seed) for request in REQUESTS]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As much of a checkpoint as the engine reads."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    (path / "model.safetensors").write_bytes(b"weights")
    return path


@pytest.fixture
def servers(folder: Path) -> Iterator[list[FakeServer]]:
    pair = [FakeServer(weights_hash(folder)) for _ in range(2)]
    for server in pair:
        server.live()
    yield pair
    for server in pair:
        server.end()


@pytest.fixture
def server(servers: list[FakeServer]) -> FakeServer:
    return servers[0]


def settings(*servers: FakeServer, **changes: Any) -> Server:
    base = Server(endpoints=tuple(s.url for s in servers), batch=16, timeout_s=5.0, patience_s=20.0)
    return Server.model_validate({**base.model_dump(), **changes})


def generate(engine: ServerEngine, requests: Sequence[Generate] = REQUESTS) -> list[Completion]:
    return asyncio.run(engine.generate(requests))


def test_answers_come_in_order_and_as_the_rule_says(folder: Path, servers: list[FakeServer]) -> None:
    with ServerEngine(folder, settings(*servers)) as engine:
        assert (engine.weights, engine.concurrency) == (weights_hash(folder), 16)
        assert generate(engine) == WANTED
        assert generate(engine, []) == []


def test_opened_chooses_it(folder: Path, server: FakeServer) -> None:
    with opened(folder, settings(server)) as engine:
        assert generate(engine, REQUESTS[:1]) == WANTED[:1]  # type: ignore[arg-type]


def test_one_engine_serves_several_event_loops_at_once(folder: Path, servers: list[FakeServer]) -> None:
    found: dict[int, list[Completion]] = {}
    with ServerEngine(folder, settings(*servers)) as engine:
        threads = [threading.Thread(target=lambda i=i: found.update({i: generate(engine)})) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == dict.fromkeys(range(3), WANTED)


def test_at_most_batch_requests_are_under_way_and_both_servers_share_them(
    folder: Path, servers: list[FakeServer]
) -> None:
    for server in servers:
        server.fate = lambda number: "slow"
    with ServerEngine(folder, settings(*servers, batch=6)) as engine:
        assert generate(engine) == WANTED
    assert [server.most for server in servers] == [3, 3]
    first, second = (len(server.asked) for server in servers)
    assert first + second == 40
    assert abs(first - second) <= 6


@pytest.mark.parametrize("failure", FAILURES)
def test_a_request_that_fails_is_asked_elsewhere_and_answered_once(
    folder: Path, servers: list[FakeServer], failure: str
) -> None:
    servers[0].fate = lambda number: failure
    with ServerEngine(folder, settings(*servers)) as engine:
        assert generate(engine) == WANTED
    assert servers[0].fates[failure] >= 1
    assert servers[1].fates == {"answer": 40}


def test_a_hanging_server_is_given_up_after_the_timeout(folder: Path, servers: list[FakeServer]) -> None:
    servers[0].fate = lambda number: "hang" if number <= 8 else "answer"
    with ServerEngine(folder, settings(*servers, timeout_s=0.3)) as engine:
        assert generate(engine) == WANTED
    assert servers[0].fates["hang"] == 8


def test_a_server_that_dies_comes_back_on_its_own(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "hang" if number > 10 else "answer"

    def restart() -> None:
        server.die()
        server.fate = lambda number: "answer"
        server.later(0.3, server.live)

    server.later(0.2, restart)
    with ServerEngine(folder, settings(server)) as engine:
        assert generate(engine) == WANTED


def test_a_server_that_asks_for_a_pause_gets_it(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "busy" if number == 1 else "answer"
    with ServerEngine(folder, settings(server)) as engine:
        began_s = time.monotonic()
        assert generate(engine, REQUESTS[:1]) == WANTED[:1]
    assert time.monotonic() - began_s >= 1.0


def test_when_all_stay_down_the_failure_names_each_and_why(folder: Path, servers: list[FakeServer]) -> None:
    with ServerEngine(folder, settings(*servers, patience_s=0.4)) as engine:
        servers[0].die()
        servers[1].fate = lambda number: "garbage"
        with pytest.raises(EngineFailure) as failure:
            generate(engine)
    assert re.fullmatch(
        rf"no endpoint answered for 0.4 s: {servers[0].url}: .*Connect.*; {servers[1].url}: malformed answer: .*",
        str(failure.value),
    )


@pytest.mark.slow
def test_a_server_that_answers_probes_but_no_request_is_asked_ever_more_rarely(
    folder: Path, server: FakeServer
) -> None:
    server.fate = lambda number: "garbage"
    with ServerEngine(folder, settings(server, patience_s=2.0)) as engine, pytest.raises(EngineFailure):
        generate(engine, REQUESTS[:1])
    assert 2 <= len(server.asked) <= 7


def test_a_prompt_that_fills_the_context_is_refused_and_the_others_are_answered(
    folder: Path, server: FakeServer
) -> None:
    long = REQUESTS[0]._replace(prompt=Prompt.of("word " * 100))
    refused = Completion("", "", 0, refusal="a prompt of 100 tokens leaves no room in a context of 100")
    with ServerEngine(folder, settings(server)) as engine:
        assert generate(engine, [long, *REQUESTS]) == [refused, *WANTED]
        server.tokenizes = False
        said = Completion("", "", 0, refusal="This model's maximum context length is 100 tokens.")
        assert generate(engine, [long, *REQUESTS]) == [said, *WANTED]


def test_a_prompt_near_the_end_of_the_context_is_continued_to_its_end(folder: Path, server: FakeServer) -> None:
    near = REQUESTS[0]._replace(prompt=Prompt.of("word " * 90))
    with ServerEngine(folder, settings(server)) as engine:
        assert generate(engine, [near]) == [rule(near.prompt.text, near.seed)]
    assert [body["max_tokens"] for body in server.asked] == [16, 10]


def test_another_complaint_about_a_request_stops_the_run(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "400"
    with ServerEngine(folder, settings(server)) as engine, pytest.raises(UserError) as error:
        generate(engine)
    assert error.value.expected == (
        f"expected {server.url} to serve completions; POST /completions answers 400: you sent no key"
    )


@pytest.mark.parametrize("status", ["401", "403", "404"])
def test_a_wrong_key_or_address_stops_the_run_and_the_key_is_not_shown(
    folder: Path, server: FakeServer, status: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, "sesame-17")
    server.fate = lambda number: status
    with ServerEngine(folder, settings(server)) as engine, pytest.raises(UserError) as error:
        generate(engine)
    assert error.value.expected == (
        f"expected {server.url} to serve completions; POST /completions answers {status}: you sent Bearer ***"
    )
    assert {headers["authorization"] for headers in server.headers} == {"Bearer sesame-17"}
    assert "sesame" not in caplog.text


def test_a_key_is_masked_wherever_a_server_repeats_it(
    folder: Path, servers: list[FakeServer], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, "sesame-17")
    echo = "BEARER SESAME-17"
    for server in servers:
        server.model = f"model {echo}"
    with pytest.raises(UserError, match=r"serves model BEARER \*\*\*, not") as error:
        ServerEngine(folder, settings(*servers, patience_s=0.3)).__enter__()
    told = [str(error.value)]
    for server in servers:
        server.model, server.root = "m", f"{echo} {server.port}"
    with pytest.raises(UserError, match=r"an endpoint reads m from BEARER \*\*\*") as error:
        ServerEngine(folder, settings(*servers, model="m", patience_s=0.3)).__enter__()
    told.append(str(error.value))
    servers[0].fate = lambda number: "echo"
    with (
        ServerEngine(folder, settings(servers[0], model="m")) as engine,
        pytest.raises(UserError, match=r"stop_reason 'Bearer \*\*\*'") as error,
    ):
        generate(engine)
    assert "sesame" not in "".join([*told, str(error.value), caplog.text]).lower()


def test_what_a_server_says_is_shown_on_one_line_cut_and_without_what_a_terminal_obeys(
    folder: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.fate = lambda number: "controls"
    with ServerEngine(folder, settings(server)) as engine, pytest.raises(UserError) as error:
        generate(engine)
    assert r"\x1b[2J\x1b]0;owned\x07" in str(error.value) or r"\u001b[2J\u001b]0;owned\u0007" in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500
    server.model = "\x1b[31m" + "m" * 600_000
    with pytest.raises(UserError, match=r"serves \\x1b\[31mmmm") as error:
        ServerEngine(folder, settings(server, patience_s=0.3)).__enter__()
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_an_error_that_is_nested_without_end_is_still_an_answer(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "deep"
    with ServerEngine(folder, settings(server)) as engine, pytest.raises(UserError, match=r'answers 400: \{"error":'):
        generate(engine)


@pytest.mark.parametrize("key", ["two\nlines", "two words", "schlüssel", "bell\a"])
def test_a_key_that_no_header_holds_is_refused_without_showing_it(
    folder: Path, server: FakeServer, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, key)
    with pytest.raises(UserError, match=r"^PERSEID_API_KEY: expected a key of printable ASCII") as error:
        ServerEngine(folder, settings(server)).__enter__()
    assert key not in str(error.value)


def test_a_server_of_other_weights_is_never_asked(folder: Path, servers: list[FakeServer]) -> None:
    servers[0].model = "other"
    with ServerEngine(folder, settings(*servers)) as engine:
        assert generate(engine) == WANTED
    assert servers[0].asked == []


def test_without_a_server_of_the_weights_the_error_says_how_to_start_one(
    folder: Path, servers: list[FakeServer]
) -> None:
    servers[0].model = "other"
    servers[1].healthy = False
    name = weights_hash(folder)
    with pytest.raises(UserError) as error, ServerEngine(folder, settings(*servers, patience_s=0.3)):
        pass
    assert error.value.expected == (
        f"expected a server of the model {name}, which this starts: vllm serve {folder} --served-model-name {name} "
        f"--dtype float32 --port {servers[0].port}; found: no endpoint answered for 0.3 s: {servers[0].url}: "
        f"serves other, not {name}; {servers[1].url}: GET /health answers 503: {{}}"
    )


def test_a_server_that_is_started_late_is_waited_for(folder: Path, server: FakeServer) -> None:
    server.die()
    server.later(0.3, server.live)
    with ServerEngine(folder, settings(server)) as engine:
        assert generate(engine) == WANTED


def test_a_named_model_is_known_by_its_name_and_where_it_is_read_from(folder: Path, servers: list[FakeServer]) -> None:
    for server in servers:
        server.model = "mine"
    with ServerEngine(folder, settings(*servers, model="mine")) as both:
        assert generate(both) == WANTED
    with ServerEngine(folder, settings(servers[1], model="mine")) as one:
        pass
    servers[1].root = "/elsewhere"
    with ServerEngine(folder, settings(servers[1], model="mine")) as other:
        pass
    assert both.weights == one.weights != other.weights
    with (
        pytest.raises(UserError, match="expected the same model everywhere"),
        ServerEngine(folder, settings(*servers, model="mine")),
    ):
        pass


def test_a_single_stop_string_needs_no_stop_reason_and_several_do(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "no reason"
    server.rule = lambda prompt, seed: Completion("text", STEP, 2)
    with ServerEngine(folder, settings(server)) as engine:
        single = Generate(Prompt.of("prompt"), 0, Sampling(stop=(STEP,)))
        assert generate(engine, [single]) == [Completion("text", STEP, 2)]
        with pytest.raises(UserError, match="expected vLLM's stop_reason to name the stop string"):
            generate(engine, REQUESTS[:1])


def test_an_end_of_sequence_that_was_to_be_ignored_is_no_answer(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "end of sequence"
    with ServerEngine(folder, settings(server)) as engine, pytest.raises(UserError, match="stop_reason None"):
        generate(engine, REQUESTS[:1])


def test_a_cancelled_call_cancels_its_requests(folder: Path, server: FakeServer) -> None:
    server.fate = lambda number: "hang"

    async def impatient(engine: ServerEngine) -> None:
        async with asyncio.timeout(0.2):
            await engine.generate(REQUESTS)

    with ServerEngine(folder, settings(server)) as engine:
        with pytest.raises(TimeoutError):
            asyncio.run(impatient(engine))
        assert (len(server.asked), server.most) == (16, 16)
        server.fate = lambda number: "answer"
        assert generate(engine) == WANTED
        assert server.under_way == 0


def test_nothing_is_left_when_the_block_ends(folder: Path, server: FakeServer) -> None:
    before = threading.active_count()
    with ServerEngine(folder, settings(server)) as engine:
        generate(engine)
    assert threading.active_count() == before
    assert server.under_way == 0


def _toy() -> Any:
    """The toy world of the search's own tests."""
    path = Path(__file__).parents[2] / "perseid" / "search" / "conftest.py"
    spec = importlib.util.spec_from_file_location("toy_world_of_search", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class World:
    """Toy problems, the rule that answers them, and a search of them by any engine."""

    module: Any

    def rule(self, prompt: str, seed: int) -> Completion:
        return Choices(self.module.options)(prompt, seed % 2**63)

    def search(self, engine: Any, journals: Path | None = None) -> dict[str, list[Any]]:
        toy = self.module.Toy()
        found = Settings(candidates=4, rollouts=8, rollouts_unsolved=4, max_depth=4)
        trees = run_searches(toy.problems(12), RStarMath(found, TOOLS), 7, toy.services(12, engine=engine), journals)
        return {name: frame.rows() for name, frame in tables(trees).items()}


@pytest.fixture(scope="module")
def world() -> World:
    return World(_toy())


@pytest.mark.slow
def test_a_search_over_servers_that_fail_in_every_way_gives_the_same_trees(
    world: World, folder: Path, servers: list[FakeServer], tmp_path: Path
) -> None:
    chance = random.Random(0)
    fates = (*FAILURES, "slow", "busy")

    def fate(number: int) -> str:
        return "hang" if number == 40 else chance.choice(fates) if chance.random() < 0.08 else "answer"

    for server in servers:
        server.rule, server.fate = world.rule, fate
    wanted = world.search(ScriptedEngine(world.rule))
    with ServerEngine(folder, settings(*servers, timeout_s=2.0, patience_s=120.0)) as engine:
        servers[0].later(0.3, servers[0].die)
        servers[0].later(0.8, servers[0].live)
        assert world.search(engine, tmp_path) == wanted
    assert sum(sum(server.fates[failure] for failure in FAILURES) for server in servers) > 10


def test_a_search_that_all_servers_left_goes_on_from_its_journal(
    world: World, folder: Path, server: FakeServer, tmp_path: Path
) -> None:
    server.rule = world.rule
    server.fate = lambda number: "500" if number > 30 else "answer"
    with ServerEngine(folder, settings(server, patience_s=0.1)) as engine, pytest.raises(EngineFailure):
        world.search(engine, tmp_path)
    server.fate = lambda number: "answer"
    with ServerEngine(folder, settings(server)) as engine:
        assert world.search(engine, tmp_path) == world.search(ScriptedEngine(world.rule))
