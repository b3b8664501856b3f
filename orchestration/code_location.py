"""Experiments as Dagster definitions: assets, checks, schedules, resources.

Nothing here imports torch, transformers, trl or mlflow: a stage does so when it is made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checks import checks_of
from assets.factory import assets_of
from orchestration.places import Places
from orchestration.schedules import schedule_of
from perseid.errors import printable
from perseid.experiment import Experiment

LONGEST = 2000  # characters of a reason
BROKEN = "BROKEN_FILES"  # in capitals: no experiment can have that name


def definitions(
    experiments: Sequence[Experiment],
    provided: dict[str, Any],
    places: Places,
    broken: Mapping[Path, str] | None = None,
) -> dg.Definitions:
    """In one process a run; a shard is a run, so runs are what is spread over machines.

    broken: files that hold no experiment, each with the reason: shown as assets that nothing makes.
    """
    return dg.Definitions(
        assets=[*(asset for experiment in experiments for asset in assets_of(experiment)), *shown(broken or {})],
        asset_checks=[check for experiment in experiments for check in checks_of(experiment)],
        schedules=[schedule_of(experiment, places) for experiment in experiments],
        resources=provided,
        executor=dg.in_process_executor,
    )


def shown(broken: Mapping[Path, str]) -> list[dg.AssetSpec]:
    how: dict[str, Any] = {"group_name": BROKEN, "tags": {"perseid/broken": ""}}
    return [
        dg.AssetSpec([BROKEN, printable(path.name)], description=printable(reason, LONGEST), **how)
        for path, reason in broken.items()
    ]
