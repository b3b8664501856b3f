"""The search driver's speed, each figure beside what it is compared with: `python -m benchmarks.search`.

One JSON line a figure. Drivers that are compared run over the same kernel, method, problems and engine, so that only
the scheduling differs (`benchmarks/lockstep.py`). On an engine of fixed latency the clock is virtual
(`benchmarks/virtual.py`). Figures of a real policy need an evolved experiment: `--root` with its artifacts, `--seed`
where it is not the file's; those of vLLM need the extra, and SmolLM2 a folder that holds it (`--smollm`).

    python -m benchmarks.search [--root var/artifacts] [--before ROOT] [--smollm FOLDER] [--quick]

`--before` is the same experiment evolved by an earlier version: its verified trajectories a CPU minute stand beside.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lockstep import lockstep
from benchmarks.virtual import FixedLatencyEngine, FixedLatencyRunner, run_virtual, scripted_step
from models.engines.scripted import ScriptedEngine
from perseid.engine import Engine
from perseid.formats import TOOLS
from perseid.formats.tools import END_OF_ANSWER, END_OF_STEP
from perseid.graders import Judge
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems import Gold, Problem
from perseid.search import Services, Tree
from perseid.search.driver import driving
from perseid.search.journal import Journal

METHOD = RStarMath(Settings(candidates=8, rollouts=4, max_depth=8), TOOLS)
RULE = scripted_step(END_OF_STEP, END_OF_ANSWER)
LOCKSTEPS = {"lockstep": None, "lockstep of 32": 32, "one_at_a_time": 1}  # problems in a batch; None: all of them


def report(name: str, value: float, unit: str, goal: str = "", **facts: object) -> None:
    print(json.dumps({"name": name, "value": round(value, 4), "unit": unit, "goal": goal, **facts}), flush=True)


def problems(count: int) -> list[Problem]:
    return [Problem(f"p{i:05}", "toy", "number", f"question {i}") for i in range(count)]


def services(engine: Engine, asked: Sequence[Problem], program_s: float, live_trees: int = 4096) -> Services:
    judge = Judge(asked, [Gold(problem.problem_id, "7") for problem in asked])
    return Services(engine, None, FixedLatencyRunner(program_s=program_s), judge, live_trees=live_trees)


@dataclass
class Sizes:
    """What becomes of finished trees here: they are counted and dropped."""

    trees: int = 0
    nodes: int = 0
    tokens: int = 0

    def __call__(self, tree: Tree) -> None:
        self.trees, self.nodes, self.tokens = self.trees + 1, self.nodes + len(tree.nodes), self.tokens + tree.tokens


def utilisation(count: int) -> None:
    """Generated tokens over those that a full batch could have generated in the same time, the drain included."""
    shares: dict[str, float] = {}
    for driver in ("perseid", *LOCKSTEPS):
        engine, asked, sizes = FixedLatencyEngine(RULE), problems(count), Sizes()
        given = services(engine, asked, 0.03)
        if driver == "perseid":
            _, wall_s = run_virtual(driving(asked, METHOD, 0, given, sizes))
        else:
            batch = LOCKSTEPS[driver] or count
            trees, wall_s = run_virtual(lockstep(asked, METHOD, 0, given, batch))
            for tree in trees:
                sizes(tree)
        shares[driver] = engine.tokens / (engine.slots / engine.step_s * wall_s)
        facts = {"trees": sizes.trees, "nodes": sizes.nodes, "tokens": engine.tokens, "wall_s": round(wall_s)}
        pool = round(given.sandbox.ran * 0.03 / 2 / wall_s, 3)  # type: ignore[attr-defined]
        goal = ">= 0.9" if driver == "perseid" else ""
        report(
            "search.utilisation", shares[driver], "share", goal,
            driver=driver, engine="fixed_latency", model="scripted", pool_busy=pool, **facts,
        )  # fmt: skip
    for driver in LOCKSTEPS:
        goal = ">= 2" if driver == "lockstep" else ""
        ratio = shares["perseid"] / shares[driver]
        report(f"search.utilisation / {driver}", ratio, "x", goal, driver="perseid", engine="fixed_latency")


def instant(count: int, live_trees: int, journals: Path | None = None) -> tuple[Sizes, float]:
    """A search whose services answer at once: what is left is kernel, driver and journal. CPU seconds."""
    asked, sizes = problems(count), Sizes()
    engine = ScriptedEngine(RULE, concurrency=256)
    given = services(engine, asked, 0.0, live_trees)
    started = time.process_time()
    run_virtual(driving(asked, METHOD, 0, given, sizes, journals))
    return sizes, time.process_time() - started


def kernel(counts: Sequence[int], rounds: int) -> None:
    """Nodes a second of kernel and driver, and whether ten times the trees cost ten times as much."""
    took: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            sizes, cpu_s = instant(count, count)
            took[count].append(cpu_s / sizes.nodes)
    each = {count: statistics.median(seconds) for count, seconds in took.items()}
    for count, seconds in each.items():
        report("search.nodes_per_s", 1 / seconds, "nodes/s", driver="perseid", engine="instant", live_trees=count)
    growth = each[counts[-1]] / each[counts[0]] * counts[-1] / counts[0]
    more = counts[-1] // counts[0]
    report("search.cost_growth", growth, "x", f"<= {1.5 * more:g}", driver="perseid", engine="instant", more_trees=more)


def memory(live_trees: int) -> None:
    """Peak memory of a process with so many live trees above that of one with ten."""
    found = []
    for count in (10, live_trees):
        command = [sys.executable, "-m", "benchmarks.search", "--peak-of", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout))
    more_bytes = 1000 * (found[1]["peak_kb"] - found[0]["peak_kb"])
    per_node = more_bytes / found[1]["nodes"]
    report(
        "search.memory", more_bytes / 1e6, "MB",
        driver="perseid", live_trees=live_trees, nodes=found[1]["nodes"], bytes_a_node=round(per_node),
    )  # fmt: skip


def peak_of(count: int) -> None:
    """All trees live until the last wave: an engine of one call at a time advances them together."""
    asked, sizes = problems(count), Sizes()
    given = services(ScriptedEngine(RULE), asked, 0.0, live_trees=count)
    run_virtual(driving(asked, METHOD, 0, given, sizes))
    print(json.dumps({"peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "nodes": sizes.nodes}))


class TimedJournal:
    """Adds up the seconds that the search spends in `Journal.append` while the block lasts."""

    def __enter__(self) -> TimedJournal:
        self.seconds, self._append = 0.0, Journal.append

        def timed(journal: Journal, entries: Any) -> None:
            started = time.perf_counter()
            self._append(journal, entries)
            self.seconds += time.perf_counter() - started

        Journal.append = timed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Journal.append = self._append  # type: ignore[method-assign]


def journal_instant(count: int) -> None:
    """The journal against a search that costs nothing else: an upper bound of its share, and how fast it replays."""
    with tempfile.TemporaryDirectory() as folder, TimedJournal() as timed:
        sizes, search_s = instant(count, count, Path(folder))
        [num_bytes] = [journal.stat().st_size for journal in Path(folder).iterdir()]
        _, replay_s = instant(count, count, Path(folder))
    facts = {"driver": "perseid", "engine": "instant", "model": "scripted", "nodes": sizes.nodes}
    report("journal.bytes_per_node", num_bytes / sizes.nodes, "bytes", **facts)
    report("journal.overhead", 100 * timed.seconds / search_s, "%", **facts)
    report("journal.replay", search_s / replay_s, "x", **facts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="artifacts of an evolved quickstart")
    parser.add_argument("--before", type=Path, help="the same, evolved by an earlier version")
    parser.add_argument("--experiment", default="quickstart")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--smollm", type=Path, help="a folder with SmolLM2")
    parser.add_argument("--part", choices=["all", "real"], default="all", help="real: without the scripted engines")
    parser.add_argument("--quick", action="store_true", help="a tenth of the trees")
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak_of is not None:
        peak_of(given.peak_of)
        return
    fewer = 10 if given.quick else 1
    if given.part != "real":
        synthetic(fewer)
    if given.root is not None:
        from benchmarks.search_real import real

        real(given)


def synthetic(fewer: int) -> None:
    utilisation(2000 // fewer)
    kernel((200 // fewer, 2000 // fewer), 3)
    memory(10_000 // fewer)
    journal_instant(1000 // fewer)


if __name__ == "__main__":
    main()
