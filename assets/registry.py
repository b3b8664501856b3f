"""Checkpoints as registered versions with aliases: `round-NN`, `candidate` (the newest policy), `champion`.

A data version is registered once, whoever asks; the artifact stays the source, the registered version points to it.
All of it follows from the store: what a kill or a tracking store that was away left out, `catch_up` makes good.
"""

import re
from collections.abc import Iterator, Mapping

import polars as pl

from assets.freshness import fresh, units_of
from assets.graph import Graph, Node, maker, round_of, unroll
from assets.journals import forget, journals_of
from assets.tracking import Account, Checkpoint, Tracking
from assets.work import Made, Work
from perseid import gate
from perseid.artifacts import Manifest, Store
from perseid.errors import UserError
from perseid.experiment import Experiment
from perseid.gate import Holder
from perseid.problems.facets import ALL


def is_registered(node: Node) -> bool:
    """Whether what is made there is a checkpoint that the registry knows."""
    return getattr(maker(node.does), "after", None) is registered


def model_name(experiment: str, stage: str) -> str:
    """The registered model of a stage: names may hold neither "/" nor ":"."""
    return f"{experiment}-{stage}"


def checkpoint_of(store: Store, manifest: Manifest) -> Checkpoint:
    experiment, number, stage = parts_of(manifest.key)
    tags = {"artifact": f"perseid://{manifest.key}", "round": str(number)}
    folder = store.place(manifest.key) / manifest.version / "model"
    return Checkpoint(model_name(experiment, stage), folder, manifest.version, tags, manifest.mlflow_run)


def newest(store: Store, manifest: Manifest, tracking: Tracking) -> str:
    """Register a checkpoint that was just made, and let its round and `candidate` name it; its number."""
    checkpoint = checkpoint_of(store, manifest)
    registered = tracking.register(checkpoint)
    for alias in (round_alias(manifest), "candidate"):
        tracking.alias(checkpoint.model, alias, manifest.version)
    return registered


def registered(work: Work, manifest: Manifest, made: Made, tracking: Tracking) -> Mapping[str, str]:
    """What follows the publishing of a checkpoint."""
    forget(journals_of(work))
    return {"registered version": newest(work.store, manifest, tracking)}


def champion_alias(store: Store, experiment: str, champion: Holder, tracking: Tracking) -> None:
    tracking.register(checkpoint_of(store, store.manifest(champion.key, champion.version)))
    tracking.alias(model_name(*parts_of(champion.key)[::2]), "champion", champion.version)


def catch_up(store: Store, experiment: Experiment, tracking: Tracking) -> None:
    """Let tracking say what the store says: checkpoints, aliases, complete rounds. May be called at any time."""
    tracking.agree(account_of(store, experiment))


def account_of(store: Store, experiment: Experiment) -> Account:
    graph = unroll(experiment)
    made = [found for node in graph.values() if is_registered(node) and (found := store.current(node.key))]
    aliases: dict[str, dict[str, str]] = {}
    for manifest in sorted(made, key=lambda m: (m.created, m.key)):  # the newest is the last to be `candidate`
        model = checkpoint_of(store, manifest).model
        aliases.setdefault(model, {}).update({round_alias(manifest): manifest.version, "candidate": manifest.version})
    for champion in champions(store, experiment.name):
        made.append(champion)
        aliases.setdefault(checkpoint_of(store, champion).model, {})["champion"] = champion.version
    checkpoints = {(c.model, c.version): c for c in (checkpoint_of(store, manifest) for manifest in made)}
    ended = {key: round_metrics(store, graph, key) for key in rounds_in(graph)}
    rounds = {key: metrics for key, metrics in ended.items() if metrics is not None}
    return Account(experiment.name, list(checkpoints.values()), aliases, rounds)


def champions(store: Store, experiment: str) -> Iterator[Manifest]:
    """The champion's manifest, if there is a champion and its version is still there."""
    if (champion := gate.champion(store, experiment)) is not None:
        try:
            yield store.manifest(champion.key, champion.version)
        except UserError:
            return


def close_if_complete(store: Store, graph: Graph, round_key: str, tracking: Tracking) -> None:
    """End the round's run when everything of the round is there, whoever made the last of it."""
    if (metrics := round_metrics(store, graph, round_key)) is not None:
        tracking.close_round(round_key, metrics)


def round_metrics(store: Store, graph: Graph, round_key: str) -> dict[str, float] | None:
    """What the round measured over all held-out problems; None while something of it is missing or stale."""
    made = {
        unit.key: fresh(graph, unit, store)
        for node in graph.values()
        if round_of(node) == round_key
        for unit in units_of(node)
    }
    present = [manifest for manifest in made.values() if manifest is not None]
    if len(present) < len(made):
        return None
    tables = [store.read(manifest, "metrics") for manifest in present if "metrics" in manifest.row_counts]
    return {name: value for table in tables for name, value in headline(table).items()}


def headline(metrics: pl.DataFrame) -> Mapping[str, float]:
    """The policy's metrics by their names, those of another arm with the arm's before it."""
    whole = metrics.filter(pl.col("facet") == ALL).select("arm", "metric", "value")
    return {metric if arm == "policy" else f"{arm}_{metric}": value for arm, metric, value in whole.iter_rows()}


def rounds_in(graph: Graph) -> list[str]:
    return list(dict.fromkeys(round_of(node) for node in graph.values()))


def round_alias(manifest: Manifest) -> str:
    return f"round-{parts_of(manifest.key)[1]:02d}"


def parts_of(key: str) -> tuple[str, int, str]:
    """(experiment, round, stage) of a checkpoint's key."""
    match = re.fullmatch(r"(\w+)/round_(\d+)/(\w+)", key)
    assert match is not None, key
    return match[1], int(match[2]), match[3]
