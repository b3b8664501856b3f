import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perseid.artifacts import Store
from perseid.artifacts.leases import STALE_S, Claim, claimed, held, holder, lease
from perseid.artifacts.owners import Owner, me
from perseid.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from perseid.artifacts.leases import lease
with lease(Path(sys.argv[1]), "toy"):
    print("held", flush=True)
    time.sleep(600)
"""
ELSEWHERE = Owner(host="elsewhere", process=7, started=9)


@contextmanager
def held_by_another(place: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def claim_of(owner: Owner, place: Path, age_s: float = 0.0) -> None:
    path = place.with_name(f"{place.name}.claim")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Claim(owner=owner, since="2026-01-01T00:00:00+00:00").model_dump_json())
    os.utime(path, (time.time() - age_s,) * 2)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "toy" / ".leases" / "round_01.policy"


def test_one_process_at_a_time_and_the_refusal_says_who(place: Path) -> None:
    with held_by_another(place) as process:
        expected = rf"toy: in progress in process {process.pid} of {me().host} since 20.*; wait for it, or end it$"
        with pytest.raises(UserError, match=expected), lease(place, "toy"):
            pass
        found = holder(place)
        assert found is not None
        assert found.owner.process == process.pid
    assert holder(place) is None


def test_a_lease_dies_with_its_process(place: Path) -> None:
    with held_by_another(place) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert claimed(place) is not None
        assert holder(place) is None
        with lease(place, "toy"):
            claim = claimed(place)
            assert claim is not None
            assert claim.owner == me()


def test_a_lease_ends_with_its_block_whatever_ends_it(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), lease(place, "toy"):
        raise KeyboardInterrupt
    assert (claimed(place), holder(place)) == (None, None)
    with lease(place, "toy"), pytest.raises(UserError, match=f"process {os.getpid()} of"), lease(place, "toy"):
        pass


def test_another_hosts_lease_counts_until_it_shows_no_life(place: Path) -> None:
    claim_of(ELSEWHERE, place, age_s=STALE_S - 30)
    assert holder(place) is not None
    with (
        pytest.raises(UserError, match=r"in progress in process 7 of elsewhere .* 120 s after its last"),
        lease(place, "toy"),
    ):
        pass
    claim_of(ELSEWHERE, place, age_s=STALE_S + 30)
    assert holder(place) is None
    with lease(place, "toy"):
        claim = claimed(place)
        assert claim is not None
        assert claim.owner == me()
    assert sorted(path.name for path in place.parent.iterdir()) == ["round_01.policy.lock"]


def test_who_lost_a_lease_leaves_it_to_its_new_holder(place: Path) -> None:
    with lease(place, "toy"):
        claim_of(ELSEWHERE, place)
    claim = claimed(place)
    assert claim is not None
    assert claim.owner == ELSEWHERE


def test_a_damaged_claim_holds_nobody_up(place: Path) -> None:
    place.parent.mkdir(parents=True)
    place.with_name(f"{place.name}.claim").write_text("{")
    with lease(place, "toy"):
        assert holder(place) is not None


def test_to_ask_who_holds_a_lease_disturbs_nobody(place: Path) -> None:
    with lease(place, "toy"):
        assert [holder(place) is None for _ in range(100)] == [False] * 100
    assert str(held(place, "toy")).endswith("in progress in another process; wait for it, or end it")


def test_every_artifact_has_a_lease_of_its_own(tmp_path: Path) -> None:
    store, shards = Store(tmp_path), [f"toy/round_01/trajectories/{shard}" for shard in ("000", "001")]
    again = store.lease(shards[0])
    refused = pytest.raises(UserError, match=f"{shards[0]}: in progress")
    with store.lease(shards[0]), store.lease(shards[1]), store.lease("toy"), refused:
        again.__enter__()
    assert store.keys() == []
