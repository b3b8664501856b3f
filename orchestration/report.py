"""What became of an experiment, read from the store: the rows of `status --json` and of the table at the end.

Nothing is computed here but sums; every number stands in an artifact, and only in one that is fresh: what is stale is
of another configuration than the one asked about, and is counted instead of being shown.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assets.freshness import survey
from assets.gate import judges, policy_of, verdict_of
from assets.graph import Graph, Node, unroll
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.experiment import Experiment
from perseid.problems.facets import ALL

COUNTED = {"verified": "trajectories", "pairs": "pairs"}  # tables whose rows a round is told by, with the heading
DELTA = "greedy_delta_control"
CONTROL = "control "  # before the name of a metric of the control arm


@dataclass(frozen=True)
class RoundStatus:
    """What is fresh of a round; `artifacts` has all of it: version and whether it is fresh, by stage.

    metrics: value, low, high, n by name, the control's under `control …`. rows: of tables, by name. seconds: taken.
    """

    round: int
    metrics: dict[str, dict[str, float]]
    artifacts: dict[str, dict[str, Any]]
    rows: dict[str, int]
    tokens: int
    seconds: float


State = dict[str, Manifest | None]  # as `survey` gives it


def rounds_of(experiment: Experiment, store: Store, state: State) -> list[RoundStatus]:
    graph = unroll(experiment)
    return [round_status(experiment, graph, state, store, number) for number in range(len(experiment.rounds) + 1)]


def round_status(experiment: Experiment, graph: Graph, state: State, store: Store, number: int) -> RoundStatus:
    nodes = [node for node in graph.values() if node.round == number]
    manifests = [m for node in nodes for key in node.artifacts if (m := state[key]) is not None]
    return RoundStatus(
        number,
        metrics_of(store, next((state[node.key] for node in nodes if judges(node)), None)),
        {node.stage: artifact_status(node, state, store) for node in nodes},
        {table: count for manifest in manifests for table, count in manifest.row_counts.items() if table in COUNTED},
        sum(manifest.tokens for manifest in manifests),
        round(sum(manifest.wall_s for manifest in manifests), 3),
    )


def artifact_status(node: Node, state: State, store: Store) -> dict[str, Any]:
    """Of a sharded asset `version` joins the shards' versions, in order; null while one is missing."""
    found = [store.current(key) for key in node.artifacts]
    versions = [manifest.version for manifest in found if manifest is not None]
    whole = ",".join(versions) if len(versions) == len(found) else None
    return {"version": whole, "fresh": all(state[key] is not None for key in node.artifacts)}


def metrics_of(store: Store, evaluation: Manifest | None) -> dict[str, dict[str, float]]:
    """Of all held-out problems; {} while the round has no fresh evaluation."""
    if evaluation is None:
        return {}
    rows = (
        store.read(evaluation, "metrics").filter(pl.col("facet") == ALL).sort("arm", "metric", descending=[True, False])
    )
    found = {}
    for arm, metric, value, low, high, n in rows.select("arm", "metric", "value", "low", "high", "n").iter_rows():
        name = metric if arm == "policy" else f"{CONTROL}{metric}"
        found[name] = {"value": value, "low": low, "high": high, "n": n}
    return found


def status(experiment: Experiment, store: Store) -> dict[str, Any]:
    """The shape of `status --json`. `champion` is null where there is none that is fresh."""
    state = survey(unroll(experiment), store)
    champion = gate.champion(store, experiment.name)
    champion = champion if champion is not None and is_fresh(champion, state) else None
    rounds = [
        {
            "round": r.round,
            "metrics": r.metrics,
            "artifacts": r.artifacts,
            "tokens": r.tokens,
            "seconds": r.seconds,
        }
        for r in rounds_of(experiment, store, state)
    ]
    return {"experiment": experiment.name, "champion": champion.key if champion else None, "rounds": rounds}


def table_of(experiment: Experiment, store: Store) -> RenderableType:
    """The table per round, and what is to be said below it."""
    state = survey(unroll(experiment), store)
    rounds = rounds_of(experiment, store, state)
    table = Table(
        title=f"{experiment.name}: held-out problems solved, %", title_justify="left", box=None, pad_edge=False
    )
    ks = [experiment.at(r.round).evaluation.samples for r in rounds]
    shown = headings(experiment, str(ks[0]) if len(set(ks)) == 1 else "k")
    counted = {name: heading for name, heading in COUNTED.items() if any(name in r.rows for r in rounds)}
    for heading in ("round", *shown, *counted.values(), "tokens", "seconds", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for r, k in zip(rounds, ks, strict=True):
        found = [(name, r.metrics.get(name.format(k=k))) for name in shown.values()]
        cells = [share(metric, interval=name == "greedy_pass@1") for name, metric in found]
        made = [f"{r.rows[name]:,}" if name in r.rows else "–" for name in counted]
        table.add_row(str(r.round), *cells, *made, f"{r.tokens:,}", f"{r.seconds:.0f}", Text(staleness(r), "yellow"))
    return Group(table, *(Text(line) for line in remarks(experiment, store, rounds, state)))


def headings(experiment: Experiment, k: str) -> dict[str, str]:
    """Names of metrics by what stands above them; `{k}` in a name is the samples of a round."""
    has_ppm = any("ppm" in node.roles for node in unroll(experiment).values())
    return {
        f"greedy [{100 * experiment.evaluation.confidence:.0f} %]": "greedy_pass@1",
        **({"control": f"{CONTROL}greedy_pass@1"} if experiment.control else {}),
        f"pass@{k}": "sampled_pass@{k}",
        f"maj@{k}": "sampled_maj@{k}",
        **({f"PPM@{k}": "sampled_ppm_best@{k}"} if has_ppm else {}),
        "MCTS": "mcts_pass@1",
    }


def staleness(r: RoundStatus) -> str:
    """What of a round is not there, or not of the present inputs and code; "" when all is."""
    missing = sum(artifact["version"] is None for artifact in r.artifacts.values())
    stale = sum(not artifact["fresh"] for artifact in r.artifacts.values()) - missing
    return ", ".join(f"{count} {what}" for count, what in ((missing, "missing"), (stale, "stale")) if count)


def remarks(experiment: Experiment, store: Store, rounds: list[RoundStatus], state: State) -> list[str]:
    """The differences that matter, printed whichever way they fall."""
    evaluated = [r for r in rounds if r.metrics]
    if not evaluated:
        return []
    last, lines = evaluated[-1].metrics, [""]
    if difference := last.get(DELTA):
        lines.append(f"Round {evaluated[-1].round} less its control: {points(difference)}{also(last, DELTA)}")
    if macro := last.get("greedy_pass@1_macro"):
        lines.append(f"Greedy, the parts of the held-out set counted alike: {share(macro, interval=True)} %")
    mcts, sampling = last.get("mcts_pass@1"), last.get("matched_pass@1")
    if mcts and sampling:
        lines.append(
            f"Search {share(mcts)} against plain sampling at equal tokens {share(sampling)}, {mcts['n']} problems"
        )
    lines += [line for name, share in last.items() if (line := shortfall(name, share))]
    if wrong := last.get("verified_but_wrong"):
        lines.append(f"Verified, but wrong on fresh instances: {100 * wrong['value']:.1f} % of {wrong['n']} programs")
    if pairs := last.get("ppm_pair_accuracy"):
        lines.append(f"PPM right on {share(pairs)} % of {pairs['n']} held-out pairs")
    return [*lines, champion_line(store, experiment, state)]


def shortfall(name: str, metric: dict[str, float]) -> str:
    """How many of the held-out problems were refused, or cannot be told; "" where none were."""
    decoding, _, what = name.rpartition("_")
    count = round(metric["value"] * metric["n"])
    if what == "refused" and count:
        return f"{decoding}: {count} of {metric['n']} questions refused by the engine, which count as not right"
    if what == "untold" and count:
        return f"{decoding}: {count} of {metric['n']} cannot be told right or wrong, and are left out"
    return ""


def champion_line(store: Store, experiment: Experiment, state: State) -> str:
    judged = gate.state(store, experiment.name)
    champion = judged.champion
    if champion is None:
        return "No champion yet"
    named = f"{champion.key} ({champion.version})"
    if not is_fresh(champion, state):
        return f"No champion of this configuration yet: {named} is of another"
    return f"Champion: {named}: {why_champion(store, experiment, judged, champion, state)}"


def why_champion(store: Store, experiment: Experiment, judged: gate.State, champion: gate.Holder, state: State) -> str:
    """The user's word, or the verdict on what is fresh: that of another evaluation or rule speaks of other numbers."""
    events = [event for event in judged.history if (event.key, event.version) == (champion.key, champion.version)]
    if judged.line[-1].forced or events[-1].forced:
        return [event for event in events if event.forced][-1].reason
    judging = [n.key for n in unroll(experiment).values() if judges(n) and n.roles["policy"] == (champion.key,)]
    evaluation = next((made for key in judging if (made := state.get(key)) is not None), None)
    verdict = verdict_of(store, experiment, evaluation) if evaluation is not None else None
    return verdict.reason if verdict is not None else "its verdict is of another evaluation; evolve to judge it again"


def is_fresh(champion: gate.Holder, state: State) -> bool:
    made = state.get(champion.key)
    return made is not None and made.version == champion.version


def next_commands(experiment: Experiment, last: int) -> list[str]:
    name, policy = experiment.name, policy_of(unroll(experiment), last)
    return [
        "make ui      # every run, plot and table; materialise more",
        f"perseid query solved_by_round_and_facet --experiment {name}",
        f"perseid lineage {policy}",
    ]


def also(metrics: dict[str, dict[str, float]], name: str) -> str:
    """The interval over groups, where there is one."""
    found = metrics.get(f"{name}_by_group")
    return f", over {found['n']} groups [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]" if found else ""


def share(metric: dict[str, float] | None, interval: bool = False) -> str:
    if metric is None:
        return "–"
    value = f"{100 * metric['value']:.1f}"
    return f"{value} [{100 * metric['low']:.0f}–{100 * metric['high']:.0f}]" if interval else value


def points(metric: dict[str, float]) -> str:
    return f"{100 * metric['value']:+.1f} points [{100 * metric['low']:+.1f}, {100 * metric['high']:+.1f}]"
