"""Small pictures of frames, as PNG bytes, for the metadata of assets and the tracked runs. Drawn without a display.

matplotlib is imported at the first picture, so that definitions load without it. Colours are safe for the colour-blind.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
SIZE_IN, DPI = (5.6, 3.2), 90


@dataclass(frozen=True)
class Point:
    """A share of `round` with its interval, all in [0, 1]."""

    round: int
    value: float
    low: float
    high: float


def accuracy(policy: Sequence[Point], control: Sequence[Point]) -> bytes:
    """Greedy pass@1 by round, with intervals; the control as a dashed line."""
    figure, axes = _canvas("Greedy pass@1 on the held-out problems", "round", "problems solved, %")
    for points, name, colour, line in (
        (policy, "evolution", BLUE, "-"),
        (control, "control", ORANGE, "--"),
    ):
        if points:
            rounds, values = [p.round for p in points], [100 * p.value for p in points]
            axes.fill_between(
                rounds, [100 * p.low for p in points], [100 * p.high for p in points], color=colour, alpha=0.15
            )
            axes.plot(rounds, values, line, color=colour, marker="o", label=name)
    axes.set_ylim(0, 100)
    axes.set_xticks(sorted({p.round for p in (*policy, *control)}))
    axes.legend(frameon=False, loc="upper left")
    return _png(figure)


def loss(training: pl.DataFrame) -> bytes:
    """`training`: columns step, loss."""
    figure, axes = _canvas("Training loss", "optimiser step", "loss, nats")
    axes.plot(training["step"].to_list(), training["loss"].to_list(), color=BLUE)
    axes.set_ylim(bottom=0)
    return _png(figure)


def q_by_depth(nodes: pl.DataFrame) -> bytes:
    """Average Q of visited nodes by depth, with one standard deviation. `nodes`: columns depth, q, visits."""
    visited = nodes.filter((pl.col("visits") > 0) & (pl.col("depth") > 0))
    by_depth = (
        visited.group_by("depth").agg(pl.col("q").mean(), pl.col("q").std().fill_null(0).alias("std")).sort("depth")
    )
    figure, axes = _canvas("Average Q by depth", "depth, steps", "Q")
    depth, q, std = (by_depth[column].to_list() for column in ("depth", "q", "std"))
    axes.errorbar(depth, q, std, color=BLUE, marker="o", capsize=3)
    axes.set_ylim(-1.05, 1.05)
    axes.axhline(0, color=GREY, linewidth=0.6)
    return _png(figure)


def solved(facet: str, shares: pl.DataFrame) -> bytes:
    """`shares`: columns value (of the facet), share in [0, 1]; a bar a value, the hardest at the bottom."""
    ordered = shares.sort("share", "value")
    height_in = max(3.2, 0.24 * ordered.height)
    figure, axes = _canvas(f"Problems solved by search, by {facet}", "solved, %", "", height_in=height_in)
    axes.barh(ordered["value"].to_list(), (100 * ordered["share"]).to_list(), color=GREEN)
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", labelsize=7)
    return _png(figure)


def score_margins(scores: pl.DataFrame) -> bytes:
    """PPM scores of held-out pairs, chosen less rejected. `scores`: columns split, score_chosen, score_rejected."""
    held_out = scores.filter(pl.col("split") == "held_out")
    figure, axes = _canvas("PPM: chosen less rejected, held-out pairs", "difference of scores", "pairs")
    axes.hist((held_out["score_chosen"] - held_out["score_rejected"]).to_list(), bins=30, range=(-2, 2), color=BLUE)
    axes.axvline(0, color=GREY, linewidth=0.8)
    return _png(figure)


def markdown(name: str, png: bytes) -> str:
    """A picture as the UI shows it, self-contained."""
    return f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _canvas(title: str, x: str, y: str, height_in: float = SIZE_IN[1]) -> "tuple[Figure, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE_IN[0], height_in), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
