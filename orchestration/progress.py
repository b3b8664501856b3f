"""What `evolve` shows while it runs: on a terminal a line that moves, elsewhere a plain line now and then.

Time left is the work left times the pace so far; the work of a stage is its usual share of a round, corrected by what
it took in the rounds before. It is an estimate, and says "about".
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from assets.freshness import Unit
from assets.work import Report, Reporter
from perseid.artifacts import Manifest

# Usual seconds of what a stage does, in the quickstart, on two cores: only their proportions matter.
USUAL_S = {
    "problems": 6.0,
    "pool": 4.0,
    "trajectories": 24.0,
    "verified": 2.0,
    "pairs": 1.0,
    "unverified": 1.0,
    "bootstrap": 20.0,
    "pretrained": 2.0,
    "policy": 20.0,
    "control": 20.0,
    "ppm": 6.0,
    "evaluation": 12.0,
}
TRUST_S = 20.0  # seconds of evidence that weigh as much as the belief
PLAIN_EVERY_S = 10.0


def usual(does: str) -> float:
    """Of a maker that is not known, a middling one's."""
    return USUAL_S.get(does, median(USUAL_S.values()))


@dataclass
class Estimate:
    """Seconds left. `took` holds what units took, by what they do."""

    plan: Sequence[Unit]
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def note(self, unit: Unit, seconds: float) -> None:
        self.took[unit.node.does].append(seconds)

    def of(self, unit: Unit) -> float:
        seen = self.took.get(unit.node.does)
        return seen[-1] if seen else self._pace() * self._usual(unit)

    def left(self, position: int, share_done: float, elapsed_s: float) -> float:
        """From the unit at `position`, of which `share_done` took `elapsed_s`."""
        here = self.of(self.plan[position])
        now = elapsed_s * (1 - share_done) / share_done if share_done > 0.05 else max(0.0, here - elapsed_s)
        return now + sum(self.of(unit) for unit in self.plan[position + 1 :])

    def _pace(self) -> float:
        """This machine's seconds for a usual second, over the stages seen; at first it is believed to be usual."""
        believed = sum(usual(does) * len(seconds) for does, seconds in self.took.items())
        return (sum(map(sum, self.took.values())) + TRUST_S) / (believed + TRUST_S)

    def _usual(self, unit: Unit) -> float:
        return usual(unit.node.does) / max(1, len(unit.node.shards))


class Screen:
    """The `Show` of the command line. A context manager; `reporter` is given to the assets."""

    def __init__(self, console: Console, plan: Sequence[Unit], rounds: int) -> None:
        self.console, self.plan, self.rounds = console, plan, rounds
        self.estimate = Estimate(plan)
        self.position, self.started, self.told, self.kept = 0, time.monotonic(), 0.0, 0
        self.unit: Unit | None = None
        self.report: Report | None = None
        self.live: Live | None = None
        self.reporter: Reporter = self._reported

    def __enter__(self) -> "Screen":
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def begins(self, unit: Unit, position: int, total: int) -> None:
        self.unit, self.position, self.report, self.started = unit, position, None, time.monotonic()
        self.told = self.started
        if self.live is None and self.console.is_terminal:
            self.live = Live(get_renderable=self._render, console=self.console, refresh_per_second=4, transient=True)
            self.live.start()

    def ended(self, unit: Unit, manifest: Manifest, made: bool) -> None:
        if not made:
            self.kept += 1
            return
        seconds = time.monotonic() - self.started
        self.estimate.note(unit, seconds)
        tokens = f"  {manifest.tokens:>11,} tokens" if manifest.tokens else ""
        line = Text.assemble(
            ("✓ ", "green"), f"{unit.key:<42} ", (manifest.version, "dim"), f"  {seconds:6.1f} s{tokens}"
        )
        self.console.print(line, soft_wrap=True)
        self.unit = None

    def _reported(self, report: Report) -> None:
        self.report = report
        if self.live is None and time.monotonic() - self.told >= PLAIN_EVERY_S:
            self.told = time.monotonic()
            self.console.print(f"  {self.headline()}: {self.detail()}", highlight=False, soft_wrap=True)

    def headline(self) -> str:
        if self.unit is None:
            return "starting"
        node = self.unit.node
        number = "problems" if node.round is None else f"round {node.round} of {self.rounds}"
        shard = "" if self.unit.shard is None or len(node.shards) == 1 else f" shard {self.unit.shard}"
        return number if node.round is None else f"{number} · {node.stage}{shard}"

    def detail(self) -> str:
        elapsed, parts = max(1e-9, time.monotonic() - self.started), []
        if (r := self.report) is not None:
            parts.append(f"{r.done}/{r.total} {r.unit}")
            if r.solved is not None and r.done:
                parts.append(f"{100 * r.solved / r.done:.0f} % solved")
            if r.tokens:
                parts.append(f"{r.tokens / elapsed:,.0f} tokens/s")
        return " · ".join([*parts, f"about {clock(self.seconds_left())} left"])

    def seconds_left(self) -> float:
        return self.estimate.left(self.position, self.share_done(), time.monotonic() - self.started)

    def share_done(self) -> float:
        return self.report.done / self.report.total if self.report is not None and self.report.total else 0.0

    def _render(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        done = sum(self.estimate.of(unit) for unit in self.plan[: self.position])
        here = self.estimate.of(self.plan[self.position])
        total = done + here + sum(self.estimate.of(unit) for unit in self.plan[self.position + 1 :])
        share = min(0.99, self.share_done() or (time.monotonic() - self.started) / max(here, 1e-9))
        grid.add_row(
            Text(self.headline(), style="bold"), ProgressBar(total, done + here * share, width=28), self.detail()
        )
        return Group(grid)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
