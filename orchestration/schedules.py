"""One schedule an experiment: each tick starts what is missing of the round in progress, or says why it does not.

Of that round is asked for what can run: a run a missing shard, and one run of what is not sharded. What waits for them
is asked for at a later tick, a minute later at most. A tick while a run
of the experiment is active does nothing, whoever started that run: runs from the UI are known by their asset selection,
an `evolve` by its lock. What is missing is read from the manifests, so a change of the experiment is caught up with.
Off by default: switch it on in the UI.
"""

from collections.abc import Iterator, Sequence, Set

import dagster as dg

from assets.factory import asset_key
from assets.freshness import Unit, survey, units
from assets.graph import Graph, inputs_of, present_of, unroll
from orchestration import follow
from orchestration.dead_runs import bury
from orchestration.places import Places
from orchestration.tracking import tracking_of
from perseid.artifacts import Store, present
from perseid.errors import UserError
from perseid.experiment import Experiment

EXPERIMENT_TAG, EVOLVE_TAG = "perseid/experiment", "perseid/evolve"
ACTIVE = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def schedule_of(experiment: Experiment, places: Places) -> dg.ScheduleDefinition:
    graph = unroll(experiment)

    @dg.schedule(
        name=f"{experiment.name}__next_round",
        target=dg.AssetSelection.assets(*(asset_key(key) for key in graph)),
        cron_schedule="* * * * *",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=f"Starts what is missing of the next round of {experiment.name}.",
    )
    def next_round(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
        if reason := busy(context.instance, experiment.name, places):
            return dg.SkipReason(reason)
        if (now := present_of(experiment, graph, places.root)) is not None:
            try:
                present.refuse_another(places.root, experiment.name, now)
            except UserError as error:
                return dg.SkipReason(str(error))
        try:
            follow.catch_up(experiment, places, tracking_of(places), lambda: context.instance)
        except UserError as error:  # what is missing can be started all the same
            context.log.warning(str(error))
        wanted = next_units(graph, Store(places.root))
        if not wanted:
            last = len(experiment.rounds)
            return dg.SkipReason(f"{experiment.name} is complete: round {last} of {last} is evaluated")
        return list(requests(experiment.name, wanted, context.scheduled_execution_time.isoformat()))

    return next_round


def busy(instance: dg.DagsterInstance, experiment: str, places: Places) -> str:
    """Why nothing may be started now; "" if it may."""
    bury(instance)
    if places.is_evolving(experiment):
        return f"{experiment} is in progress: an evolve is running"
    active = active_runs(instance, experiment)
    return f"{experiment} is in progress: run {active[0].run_id} is {active[0].status.value}" if active else ""


def active_runs(instance: dg.DagsterInstance, experiment: str) -> list[dg.DagsterRun]:
    """Runs that are queued or running and touch the experiment; those that a dead `evolve` left behind do not count."""
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=ACTIVE))
    return [run for run in runs if EVOLVE_TAG not in run.tags and touches(run, experiment)]


def touches(run: dg.DagsterRun, experiment: str) -> bool:
    if run.tags.get(EXPERIMENT_TAG) == experiment:
        return True
    chosen = run.asset_selection
    return chosen is None or any(key.path[0] == experiment for key in chosen)


def next_units(graph: Graph, store: Store) -> list[Unit]:
    """What to start now: of the first round that lacks something, all that can run."""
    state = survey(graph, store)
    missing = [unit for unit in units(graph) if state[unit.key] is None]
    if not missing:
        return []
    first = missing[0].node.round or 0
    fresh = {key for key, manifest in state.items() if manifest is not None}
    return list(runnable(graph, [unit for unit in missing if (unit.node.round or 0) == first], fresh))


def runnable(graph: Graph, missing: Sequence[Unit], fresh: Set[str]) -> Iterator[Unit]:
    """Those whose inputs are there or made before them in the same run; shards are runs of their own, and make none."""
    there = set(fresh)
    for unit in missing:
        if unit.node.shards:
            if set(inputs_of(graph, unit.node)) <= fresh:
                yield unit
        elif there.issuperset(inputs_of(graph, unit.node)):
            there.add(unit.key)
            yield unit


def requests(experiment: str, wanted: Sequence[Unit], tick: str) -> Iterator[dg.RunRequest]:
    """Run keys hold the time of the tick, so that what failed is asked for again at the next one."""
    tags = {EXPERIMENT_TAG: experiment}
    for unit in wanted:
        if unit.shard is not None:
            chosen, key = [asset_key(unit.node.key)], f"{tick} {unit.key}"
            yield dg.RunRequest(run_key=key, partition_key=unit.shard, asset_selection=chosen, tags=tags)
    whole = [asset_key(unit.node.key) for unit in wanted if unit.shard is None]
    if whole:
        yield dg.RunRequest(run_key=f"{tick} {experiment}", asset_selection=whole, tags=tags)
