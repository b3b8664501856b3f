"""`plan`: what an experiment would do, said before it does anything: problems, calls, tokens, disk, seconds.

No model is loaded. Problems are read and drawn as the stages would draw them. Calls and tokens are upper bounds that
follow from the settings (a search seldom needs them: it ends early, steps are shorter than they may be); what earlier
makings of the same stages in this root really took stands beside them, and seconds are only told where there are some.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assets.freshness import survey
from assets.graph import Graph, Node, unroll
from perseid.artifacts import Manifest, Store
from perseid.checkpoints import Pretrained, TinyLlama
from perseid.experiment import Experiment
from perseid.methods import rstar_math
from perseid.problems.making import first

ROW_BYTES: Final = 2  # of a trajectories artifact, for each token that was generated: what the quickstart's take
DTYPES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a weight
GIB: Final = 2**30


@dataclass(frozen=True)
class Most:
    """What a stage may ask at most. calls: completions; tokens: generated; sequences: trained on; disk: bytes, about.

    disk is None where the size of the model is not known before it is there.
    """

    problems: int = 0
    calls: int = 0
    tokens: int = 0
    sequences: int = 0
    disk: int | None = 0


@dataclass(frozen=True)
class Planned:
    """A stage with its bound; `took` is what it, or the same stage of another round, was made in: seconds, tokens."""

    node: Node
    most: Most
    fresh: bool
    took: tuple[float, int] | None


@dataclass(frozen=True)
class Sizes:
    """Problems that are held out, and those that each round searches."""

    held_out: int
    pools: Mapping[int, int]


def planned(experiment: Experiment, store: Store, sizes: Sizes) -> list[Planned]:
    """Every stage in the order of its making."""
    graph = unroll(experiment)
    state, took = survey(graph, store), dict(measured(graph, store))
    last = {(graph[key].stage, graph[key].does): made for key, made in took.items()}  # a base's pointer is no training
    return [
        Planned(
            node,
            most_of(experiment, node, sizes),
            all(state[key] for key in node.artifacts),
            took.get(node.key, last.get((node.stage, node.does))),
        )
        for node in graph.values()
    ]


def sizes_of(experiment: Experiment) -> Sizes:
    """Read and drawn as the stages do. Raises `UserError` for problems that cannot be read."""
    found = first(experiment.problems, experiment.seed, experiment.root)
    pools: dict[int, int] = {}
    for number in range(1, len(experiment.rounds) + 1):
        problems = experiment.at(number).problems
        told = problems.asks(problems.pool)
        rows = found.left if "train" in found.rows else told  # None: all that are left
        pools[number] = min(size for size in (told, rows) if size is not None)
    return Sizes(len(found.held_out), pools)


def measured(graph: Graph, store: Store) -> Iterable[tuple[str, tuple[float, int]]]:
    """By key, seconds and tokens of what is current in this root, shards together."""
    for node in graph.values():
        found: list[Manifest] = [made for key in node.artifacts if (made := store.current(key)) is not None]
        if len(found) == len(node.artifacts):
            yield node.key, (sum(made.wall_s for made in found), sum(made.tokens for made in found))


def most_of(experiment: Experiment, node: Node, sizes: Sizes) -> Most:
    """Of a maker that is not known here, nothing is told."""
    e, number = experiment.at(node.round or 0), node.round or 0
    bound = BOUNDS.get(node.does)
    return Most() if bound is None else bound(e, sizes, number)


def _problems(e: Experiment, sizes: Sizes, number: int) -> Most:
    return Most(problems=sizes.held_out)


def _pool(e: Experiment, sizes: Sizes, number: int) -> Most:
    return Most(problems=sizes.pools[number])


def _trajectories(e: Experiment, sizes: Sizes, number: int) -> Most:
    problems, calls, tokens = sizes.pools[number], e.method.most_calls, e.method.most_tokens
    return Most(problems, problems * calls, problems * tokens, disk=ROW_BYTES * problems * tokens)


def _evaluation(e: Experiment, sizes: Sizes, number: int) -> Most:
    v, arms = e.evaluation, 2 if e.control and number else 1
    plain = sizes.held_out * (v.samples + arms)
    some = min(v.mcts_problems, sizes.held_out)
    mcts = rstar_math.Settings(rollouts=v.mcts_rollouts, candidates=v.mcts_candidates)
    searched = some * mcts.most_calls
    tokens = plain * v.max_tokens + 2 * searched * v.mcts_step_tokens  # and as many by sampling
    return Most(sizes.held_out, plain + 2 * searched, tokens)


def _trained(section: str) -> "Bound":
    def bound(e: Experiment, sizes: Sizes, number: int) -> Most:
        settings = getattr(e.training, section)
        known = getattr(settings, "steps", 0) if not getattr(settings, "epochs", 0) else 0
        return Most(sequences=known * settings.batch, disk=checkpoint_bytes(e))

    return bound


def _pointed(e: Experiment, sizes: Sizes, number: int) -> Most:
    return Most()


Bound = Callable[[Experiment, Sizes, int], Most]
BOUNDS: Final[Mapping[str, Bound]] = {
    "problems": _problems,
    "pool": _pool,
    "trajectories": _trajectories,
    "bootstrap": _trained("bootstrap"),
    "pretrained": _pointed,
    "policy": _trained("policy"),
    "control": _trained("policy"),
    "ppm": _trained("ppm"),
    "evaluation": _evaluation,
}


def checkpoint_bytes(e: Experiment) -> int | None:
    """About what a trained checkpoint takes; None where that is not known yet (a model of the hub, an adapter)."""
    policy = e.models.policy
    if isinstance(policy, TinyLlama):
        return DTYPES["float32"] * policy.parameters
    assert isinstance(policy, Pretrained)
    files = list((e.root / policy.place).glob("*.safetensors")) if policy.lora is None else []
    return sum(Path(file).stat().st_size for file in files) or None


def total(planned: Iterable[Planned]) -> Most:
    """The sums; `disk` of what is known."""
    found = Most()
    for each in planned:
        found = replace(
            found,
            calls=found.calls + each.most.calls,
            tokens=found.tokens + each.most.tokens,
            sequences=found.sequences + each.most.sequences,
            disk=(found.disk or 0) + (each.most.disk or 0),
        )
    return found


def as_json(experiment: Experiment, store: Store) -> dict[str, Any]:
    """The shape of `plan --json`: bounds a stage, and what was measured; null where nothing is known."""
    found = planned(experiment, store, sizes_of(experiment))
    rows = [
        {
            "artifact": each.node.key,
            "does": each.node.does,
            "shards": len(each.node.shards) or 1,
            "fresh": each.fresh,
            "problems": each.most.problems,
            "most_calls": each.most.calls,
            "most_tokens": each.most.tokens,
            "sequences": each.most.sequences,
            "disk_bytes": each.most.disk,
            "took_s": each.took[0] if each.took else None,
            "took_tokens": each.took[1] if each.took else None,
        }
        for each in found
    ]
    return {"experiment": experiment.name, "recipe": experiment.recipe, "stages": rows}


def table_of(experiment: Experiment, store: Store) -> RenderableType:
    found = planned(experiment, store, sizes_of(experiment))
    table = Table(title=f"{experiment.name}: what it would do", title_justify="left", box=None, pad_edge=False)
    for heading in ("artifact", "problems", "most calls", "most tokens", "trains on", "disk", "took", ""):
        table.add_column(heading, justify="left" if heading in ("artifact", "") else "right", no_wrap=True)
    for each in found:
        most, note = each.most, Text("fresh" if each.fresh else "", "green")
        counts = [f"{n:,}" if n else "–" for n in (most.problems, most.calls, most.tokens, most.sequences)]
        shards = f" x {len(each.node.shards)}" if len(each.node.shards) > 1 else ""
        took = f"{each.took[0]:.0f} s" if each.took else "–"
        table.add_row(f"{each.node.key}{shards}", *counts, size(most.disk), took, note)
    return Group(table, *(Text(line) for line in remarks(experiment, found)))


def remarks(experiment: Experiment, found: list[Planned]) -> list[str]:
    """The sums, and where they come from."""
    whole, fresh = total(found), sum(each.fresh for each in found)
    left = [each for each in found if not each.fresh]
    policy, engine = experiment.models.policy, experiment.engine.kind
    what = policy.place if isinstance(policy, Pretrained) else f"{policy.base}, {policy.parameters:,} parameters"
    rounds = "1 round" if len(experiment.rounds) == 1 else f"{len(experiment.rounds)} rounds"
    lines = [
        "",
        f"Recipe {experiment.recipe}, {rounds}; policy {what}; engine {engine}.",
        f"In all at most {whole.calls:,} calls and {whole.tokens:,} generated tokens, about {size(whole.disk)} of disk"
        + (", models of unknown size apart." if any(each.most.disk is None for each in found) else "."),
        "Calls and tokens are bounds of the settings: a search that solves its problem, or ends its steps, asks less.",
    ]
    known = [each for each in left if each.took is not None]
    if fresh == len(found):
        lines.append("Everything is fresh: nothing would be made.")
    elif len(known) == len(left):
        seconds = sum(each.took[0] for each in known if each.took)
        lines.append(
            f"{len(left)} of {len(found)} stages to make, about {clock(seconds)} as the last of each took here."
        )
    else:
        missing = sorted({each.node.stage for each in left if each.took is None})
        lines.append(
            f"{len(left)} of {len(found)} stages to make; no seconds: {', '.join(missing)} never ran in this root."
        )
    return lines


def clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def size(count: int | None) -> str:
    if count is None:
        return "?"
    if not count:
        return "–"
    for unit, least in (("GiB", GIB), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= least:
            return f"{count / least:,.1f} {unit}"
    return f"{count} B"
