"""Runs whose process is gone but whose record says that they run: they would hold the queue and the schedule for ever.

A run signs itself with its process when its resources are made. Before that, it is known by the server that started it.
What cannot be told from this host is left alone.
"""

import json
import time
from typing import TYPE_CHECKING

from perseid.artifacts.owners import me, owner_in

if TYPE_CHECKING:
    import dagster as dg

PROCESS_TAG = "perseid/process"
SERVER_TAG = ".dagster/grpc_info"  # Dagster's own: where the code server listens that started the run
SETTLED_S = 60.0  # since the last word of a run that has not signed; below, it may be starting


def sign(instance: "dg.DagsterInstance", run_id: str) -> None:
    instance.add_run_tags(run_id, {PROCESS_TAG: str(me())})


def bury(instance: "dg.DagsterInstance") -> list[str]:
    """Mark dead runs as failed (those that were being cancelled: as cancelled); their ids."""
    import dagster as dg

    status = dg.DagsterRunStatus
    working = dg.RunsFilter(statuses=[status.STARTING, status.STARTED, status.CANCELING])
    buried = []
    for record in instance.get_run_records(working):
        run = record.dagster_run
        if is_dead(run, time.time() - record.update_timestamp.timestamp()):
            ended = instance.report_run_canceled if run.status == status.CANCELING else instance.report_run_failed
            ended(run, "The process of this run ended before it.")
            buried.append(run.run_id)
    return buried


def is_dead(run: "dg.DagsterRun", silent_s: float) -> bool:
    if owner := owner_in(run.tags.get(PROCESS_TAG, "")):
        return owner.dead
    return silent_s > SETTLED_S and SERVER_TAG in run.tags and not answers(json.loads(run.tags[SERVER_TAG]))


def answers(server: dict[str, object]) -> bool:
    """Whether the code server on this host answers; that of another host is taken to."""
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    if server.get("host") not in ("localhost", "127.0.0.1"):
        return True
    try:
        DagsterGrpcClient(**server).ping("")  # type: ignore[arg-type]
    except DagsterUserCodeUnreachableError:
        return False
    return True
