"""Checkpoints as registered versions with aliases: `round-NN`, `candidate` (the newest policy), `champion`.

A data version is registered once, whoever asks; the artifact stays the source, the registered version points to it.
"""

import re

from assets.tracking import Tracking
from perseid.artifacts import Manifest, Store
from perseid.gate import Holder

CHECKPOINTS = ("policy", "ppm")


def model_name(experiment: str, stage: str) -> str:
    """The registered model of a stage: names may hold neither "/" nor ":"."""
    return f"{experiment}-{stage}"


def register(store: Store, manifest: Manifest, tracking: Tracking) -> str:
    """The number of the checkpoint's registered version."""
    experiment, number, stage = parts_of(manifest.key)
    tags = {"artifact": f"perseid://{manifest.key}", "round": str(number)}
    model, folder = model_name(experiment, stage), store.folder(manifest, "model")
    return tracking.register(model, folder, manifest.version, tags, manifest.mlflow_run)


def newest(store: Store, manifest: Manifest, tracking: Tracking) -> str:
    """Register a checkpoint that was just made, and let its round and `candidate` name it."""
    experiment, number, stage = parts_of(manifest.key)
    registered = register(store, manifest, tracking)
    for alias in (f"round-{number:02d}", "candidate"):
        tracking.alias(model_name(experiment, stage), alias, manifest.version)
    return registered


def champion_alias(store: Store, experiment: str, champion: Holder, tracking: Tracking) -> None:
    register(store, store.manifest(champion.key, champion.version), tracking)
    tracking.alias(model_name(experiment, "policy"), "champion", champion.version)


def parts_of(key: str) -> tuple[str, int, str]:
    """(experiment, round, stage) of a checkpoint's key."""
    match = re.fullmatch(r"(\w+)/round_(\d+)/(\w+)", key)
    assert match is not None, key
    return match[1], int(match[2]), match[3]
