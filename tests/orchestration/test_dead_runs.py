"""Runs on an instance of their own, signed by processes that live or are gone."""

import subprocess
import sys
from collections.abc import Iterator

import dagster as dg
import pytest

from orchestration.dead_runs import PROCESS_TAG, SERVER_TAG, bury, is_dead, sign
from perseid.artifacts.owners import me

STATUS = dg.DagsterRunStatus


@dg.job
def nothing() -> None: ...


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture(scope="module")
def gone() -> str:
    """The signature of a process that is gone."""
    code = "from perseid.artifacts.owners import me\nprint(me())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def run_of(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> str:
    named = {name.replace("process", PROCESS_TAG): value for name, value in tags.items()}
    return instance.create_run_for_job(nothing, status=status, tags=named).run_id


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_whose_process_is_gone_is_ended_and_one_whose_process_lives_is_not(
    instance: dg.DagsterInstance, gone: str
) -> None:
    dead = [run_of(instance, status, process=gone) for status in (STATUS.STARTED, STATUS.STARTING)]
    cancelled = run_of(instance, STATUS.CANCELING, process=gone)
    alive, elsewhere = run_of(instance, STATUS.STARTED), run_of(instance, STATUS.STARTED, process="elsewhere-1-1")
    ended = run_of(instance, STATUS.SUCCESS, process=gone)
    sign(instance, alive)
    assert set(bury(instance)) == {*dead, cancelled}
    assert [status_of(instance, run) for run in (*dead, cancelled)] == [STATUS.FAILURE] * 2 + [STATUS.CANCELED]
    assert [status_of(instance, run) for run in (alive, elsewhere)] == [STATUS.STARTED] * 2
    assert status_of(instance, ended) == STATUS.SUCCESS
    assert bury(instance) == []


def test_a_run_that_has_not_signed_is_dead_when_its_server_is_and_it_has_had_its_time() -> None:
    server = '{"host": "localhost", "socket": "/nowhere/socket"}'
    unsigned = dg.DagsterRun(job_name="job", tags={SERVER_TAG: server})
    assert [is_dead(unsigned, silent_s) for silent_s in (10.0, 100.0)] == [False, True]
    assert not is_dead(dg.DagsterRun(job_name="job"), 1e6)
    assert not is_dead(dg.DagsterRun(job_name="job", tags={SERVER_TAG: server, PROCESS_TAG: str(me())}), 1e6)
    assert not is_dead(dg.DagsterRun(job_name="job", tags={SERVER_TAG: '{"host": "other", "port": 1}'}), 1e6)
