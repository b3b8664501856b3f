import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from perseid.artifacts import Draft, Facts, Manifest, Store
from perseid.artifacts.disk import HIDDEN, hidden_folder
from perseid.artifacts.manifest import VERSION, version_of
from perseid.artifacts.owners import Owner, me
from perseid.errors import UserError
from perseid.tables import TableError

KEY = "toy/round_01/policy"
INPUTS = {"toy/problems": "0" * 16}
TRAINING = pl.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "tokens": [64, 64]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "artifacts")


def fill(draft: Draft, weights: bytes = b"weights") -> None:
    draft.table("training", TRAINING)
    draft.path("model").mkdir()
    (draft.path("model") / "model.safetensors").write_bytes(weights)
    (draft.path("model") / "config.json").write_text("{}")


def published(store: Store, weights: bytes = b"weights", code: str = "code", facts: Facts | None = None) -> Manifest:
    with store.draft(KEY) as draft:
        fill(draft, weights)
        return draft.publish(code, INPUTS, facts)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_published_is_read_back(store: Store) -> None:
    facts = Facts(experiment_hash="e", seeds={"policy": 7}, mlflow_run="run", wall_s=2.0, cpu_s=3.0, tokens=128)
    manifest = published(store, facts=facts)
    assert store.read(KEY, "training").equals(TRAINING)
    assert store.read(manifest, "training").equals(TRAINING)
    assert names(store.folder(KEY)) == ["config.json", "model.safetensors"]
    assert store.current(KEY) == store.manifest(KEY, manifest.version) == manifest
    assert Facts(**manifest.model_dump(include=set(Facts.model_fields))) == facts
    assert (manifest.key, manifest.code_version, manifest.inputs) == (KEY, "code", INPUTS)
    assert manifest.row_counts == {"training": 2}
    assert sorted(manifest.files) == ["model/config.json", "model/model.safetensors", "training.parquet"]
    assert manifest.packages["polars"] == pl.__version__


def test_the_folder_of_a_key_holds_its_versions_and_the_pointer(store: Store) -> None:
    manifest = published(store)
    assert names(store.place(KEY)) == sorted([manifest.version, "current"])
    assert (store.place(KEY) / "current").read_text() == f"{manifest.version}\n"
    assert VERSION.fullmatch(manifest.version)


def test_a_version_is_the_hash_of_its_files_alone(store: Store, tmp_path: Path) -> None:
    first = published(store, facts=Facts(wall_s=1.0))
    elsewhere = published(Store(tmp_path / "other"), code="other", facts=Facts(wall_s=9.0))
    assert first.version == elsewhere.version == version_of(first.files)
    assert published(store, b"other weights").version != first.version


def test_equal_content_published_again_keeps_what_stands(store: Store) -> None:
    first, changed = published(store), published(store, b"other")
    inode = (store.place(KEY) / first.version).stat().st_ino
    assert store.current(KEY) == changed
    assert published(store, facts=Facts(wall_s=5.0)) == first
    assert store.current(KEY) == first
    assert (store.place(KEY) / first.version).stat().st_ino == inode
    assert store.versions(KEY) == sorted([first.version, changed.version])


def test_equal_content_made_by_other_code_is_one_version_made_anew(store: Store) -> None:
    first = published(store, code="old")
    again = published(store, code="new")
    assert (again.version, again.code_version) == (first.version, "new")
    assert store.current(KEY) == again


def test_an_artifact_is_fresh_while_code_and_inputs_are_the_same(store: Store) -> None:
    assert store.fresh(KEY, "code", INPUTS) is None
    manifest = published(store)
    assert store.fresh(KEY, "code", INPUTS) == manifest
    assert store.fresh(KEY, "other code", INPUTS) is None
    assert store.fresh(KEY, "code", {"toy/problems": "1" * 16}) is None
    assert store.fresh(KEY, "code", {}) is None


def test_inputs_that_swap_their_roles_are_another_making_and_roles_that_nobody_recorded_are_any(store: Store) -> None:
    roles = {"policy": ("toy/a",), "teacher": ("toy/b",)}
    swapped = {"policy": ("toy/b",), "teacher": ("toy/a",)}
    manifest = published(store, facts=Facts(roles=roles))
    assert store.fresh(KEY, "code", INPUTS, roles) == store.fresh(KEY, "code", INPUTS) == manifest
    assert store.fresh(KEY, "code", INPUTS, swapped) is None
    assert store.restore(KEY, "code", INPUTS, swapped) is None
    old = manifest.model_copy(update={"roles": {}})
    assert old.same_making("code", INPUTS, swapped)


def test_a_version_is_read_in_the_role_that_is_recorded(store: Store) -> None:
    manifest = published(store, facts=Facts(roles={"problems": ("toy/problems",)}))
    assert manifest.read_as("problems", "toy/problems") == "0" * 16
    assert manifest.read_as("policy", "toy/problems") is None
    before = manifest.model_copy(update={"roles": {}})
    assert before.read_as("policy", "toy/problems") == "0" * 16
    assert before.read_as("policy", "toy/others") is None


def test_a_manifest_of_before_roles_is_read(store: Store) -> None:
    manifest = published(store)
    path = store.place(KEY) / manifest.version / "manifest.json"
    written = json.loads(path.read_text())
    assert written.pop("roles") == {}
    path.write_text(json.dumps({name: value for name, value in written.items() if name != "seal"}))
    assert store.current(KEY) == manifest


def test_a_version_of_before_counts_again_for_what_made_it(store: Store) -> None:
    first = published(store, b"first", "old")
    second = published(store, b"second", "new")
    assert store.restore(KEY, "old", {}) is None
    assert store.restore(KEY, "older", first.inputs) is None
    assert store.current(KEY) == second
    assert store.restore(KEY, "old", first.inputs) == first
    assert store.fresh(KEY, "old", first.inputs) == first
    assert store.restore(KEY, "new", second.inputs) == second


def test_a_version_of_before_that_is_not_whole_is_made_again(store: Store) -> None:
    first = published(store, b"first", "old")
    second = published(store, b"second", "new")
    (store.place(KEY) / first.version / "model" / "model.safetensors").write_bytes(b"fir5t")
    assert store.restore(KEY, "old", first.inputs) is None
    (store.place(KEY) / first.version / "manifest.json").write_text("{")
    assert store.restore(KEY, "old", first.inputs) is None
    assert store.current(KEY) == second


def test_a_draft_without_publish_leaves_nothing_visible(store: Store) -> None:
    with store.draft(KEY) as draft:
        fill(draft)
    assert store.current(KEY) is None
    assert names(store.place(KEY)) == []


def test_a_draft_that_fails_leaves_what_was_current(store: Store) -> None:
    manifest = published(store)
    with (
        pytest.raises(TableError, match=r"toy/round_01/policy/training\.parquet: step: not unique \(2\)"),
        store.draft(KEY) as draft,
    ):
        draft.table("training", TRAINING.with_columns(step=pl.lit(1, pl.Int64)))
    assert store.current(KEY) == manifest
    assert names(store.place(KEY)) == sorted([manifest.version, "current"])


def test_an_error_of_the_block_comes_out_unchanged(store: Store) -> None:
    with pytest.raises(FileNotFoundError), store.draft(KEY) as draft:
        draft.path("model/absent").read_bytes()


def test_keys_are_those_that_have_a_current_version(store: Store) -> None:
    assert store.keys() == store.keys("toy") == []
    for key in ("toy/round_01/trajectories/001", "toy/problems", "other/problems"):
        with store.draft(key) as draft:
            draft.path("model").mkdir()
            (draft.path("model") / "current").write_text("a file that is called like a pointer")
            draft.publish("code", {})
    assert store.keys() == ["other/problems", "toy/problems", "toy/round_01/trajectories/001"]
    assert store.keys("toy") == ["toy/problems", "toy/round_01/trajectories/001"]


@pytest.mark.parametrize(
    "key", ["", "/toy", "toy/", "../toy", "toy/../x", "toy/current", "toy/0123456789abcdef", "a b"]
)
def test_what_can_be_no_key_is_refused(store: Store, key: str) -> None:
    with pytest.raises(UserError, match="expected a key such as"):
        store.current(key)


def test_a_missing_artifact_and_a_missing_table_are_named(store: Store) -> None:
    with pytest.raises(UserError, match="toy/round_01/policy: there is no such artifact"):
        store.read(KEY, "training")
    published(store)
    with pytest.raises(UserError, match=r"nodes\.parquet: nodes: toy/round_01/policy holds model, training only"):
        store.read(KEY, "nodes")
    with pytest.raises(UserError, match="has no folder 'plots'"):
        store.folder(KEY, "plots")


def test_a_truncated_table_is_named_and_made_again_by_the_next_run(store: Store) -> None:
    manifest = published(store)
    path = store.place(KEY) / manifest.version / "training.parquet"
    os.truncate(path, 100)
    with pytest.raises(UserError, match=r"training\.parquet: damaged: it has 100 bytes") as caught:
        store.read(KEY, "training")
    assert (caught.value.where, caught.value.key) == (str(path), "training.parquet")
    assert store.fresh(KEY, "code", INPUTS) is None
    assert published(store).version == manifest.version
    assert store.read(KEY, "training").equals(TRAINING)


def test_a_table_whose_hash_is_right_but_that_is_no_parquet_is_named(store: Store) -> None:
    with store.draft(KEY) as draft:
        draft.path("training.parquet").write_bytes(b"no parquet")
        draft.publish("code", {})
    with pytest.raises(UserError, match=r"training\.parquet: training: cannot be read as Parquet"):
        store.read(KEY, "training")


def test_a_corrupted_checkpoint_is_named_and_replaced_by_the_next_run(store: Store) -> None:
    manifest = published(store)
    weights = store.folder(KEY) / "model.safetensors"
    weights.write_bytes(b"wEights")
    with pytest.raises(UserError, match=r"model\.safetensors: damaged: its sha256 is not the manifest's"):
        store.folder(KEY)
    assert published(store) == store.current(KEY)
    assert store.folder(manifest).joinpath("model.safetensors").read_bytes() == b"weights"
    weights.unlink()
    with pytest.raises(UserError, match="damaged: it is missing"):
        store.folder(KEY)


def test_a_version_whose_folder_is_deleted_is_made_again(store: Store) -> None:
    manifest = published(store)
    shutil.rmtree(store.place(KEY) / manifest.version)
    assert store.current(KEY) is None
    assert store.fresh(KEY, "code", INPUTS) is None
    assert published(store).version == manifest.version
    assert store.read(KEY, "training").equals(TRAINING)


def test_a_damaged_manifest_or_pointer_is_named(store: Store) -> None:
    manifest = published(store)
    path = store.place(KEY) / manifest.version / "manifest.json"
    path.write_text(path.read_text().replace('"bytes": 7', '"bytes": "seven"').replace('"bytes":7', '"bytes":"seven"'))
    with pytest.raises(UserError, match=r"files\.model/model\.safetensors\.bytes: damaged manifest.*evolve again"):
        store.current(KEY)
    (store.place(KEY) / "current").write_text("nonsense\n")
    with pytest.raises(UserError, match="current: expected a version of 16 hex digits, found 'nonsense'"):
        store.current(KEY)


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "artifacts")
    with pytest.raises(
        UserError, match=r"file.*: cannot be written \(.*\); expected a folder that this user may write"
    ):
        published(store)


def test_a_root_without_permission_is_named_and_can_still_be_read(store: Store) -> None:
    manifest = published(store)
    store.place(KEY).chmod(0o500)
    if os.access(store.place(KEY), os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(UserError, match="cannot be written"):
        published(Store(store.root), b"other")
    store.place(KEY).chmod(0o700)
    assert store.current(KEY) == manifest


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_on_file_sizes_loses_nothing(store: Store) -> None:
    manifest = published(store)
    with files_of_at_most(1000), pytest.raises(UserError, match="make room and run again, nothing is lost"):
        published(store, b"x" * 5000)
    with (
        files_of_at_most(100),
        pytest.raises(UserError, match=r"training\.parquet: cannot be written \(File too large\)"),
    ):
        published(store)
    assert store.current(KEY) == manifest
    assert names(store.place(KEY)) == sorted([manifest.version, "current"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_error_and_loses_nothing(small_disk: Path) -> None:
    store = Store(small_disk)
    manifest = published(store)
    for size in (2_000_000, 1_044_000, 1_040_000, 1_036_000):
        with pytest.raises(UserError, match="No space left on device"):
            published(store, b"x" * size)
        assert store.current(KEY) == manifest
        assert names(store.place(KEY)) == sorted([manifest.version, "current"])
    (small_disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(small_disk).free))
    with pytest.raises(UserError, match="No space left on device"):
        published(store, b"more")
    assert store.read(KEY, "training").equals(TRAINING)


def dead_owner() -> Owner:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return Owner(host=me().host, process=process.pid, started=1)


def test_a_disk_that_becomes_read_only_is_one_error_and_loses_nothing(small_disk: Path) -> None:
    store = Store(small_disk)
    manifest = published(store)
    expected = r"Read-only file system.*expected a folder that this user may write"
    with pytest.raises(UserError, match=expected), store.draft(KEY) as draft:  # noqa: PT012
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
        draft.path("note").write_text("too late")
    with pytest.raises(UserError, match="Read-only file system"):
        published(store, b"other")
    with pytest.raises(UserError, match="Read-only file system"):
        store.lease(KEY).__enter__()
    assert store.read(KEY, "training").equals(TRAINING)
    assert store.current(KEY) == manifest


def test_an_error_of_another_place_is_not_blamed_on_the_disk(store: Store, tmp_path: Path) -> None:
    with pytest.raises(PermissionError), store.draft(KEY):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "elsewhere"))


def test_who_writes_sweeps_the_drafts_of_the_dead_and_nothing_else(store: Store) -> None:
    place, dead, elsewhere = store.place(KEY), dead_owner(), me().model_copy(update={"host": "elsewhere"})
    started_before = me().model_copy(update={"started": me().started - 1})
    left = [f"{HIDDEN}{owner}-0123456789ab" for owner in (dead, started_before)]
    kept = [".tmp-mine", f"{HIDDEN}1-dead", f"{HIDDEN}{elsewhere}-0123456789ab", f"{HIDDEN}{me()}-0123456789ab"]
    for name in (*left, *kept):
        (place / name / "model").mkdir(parents=True)
    with store.draft(KEY) as draft:
        assert names(place) == sorted([*kept, draft.folder.name])


def test_reading_sweeps_nothing(store: Store) -> None:
    manifest, left = published(store), f"{HIDDEN}{dead_owner()}-0123456789ab"
    (store.place(KEY) / left).mkdir()
    reader = Store(store.root)
    reader.read(manifest, "training"), reader.folder(manifest), reader.keys(), reader.versions(KEY), reader.current(KEY)
    assert names(store.place(KEY)) == sorted([left, manifest.version, "current"])


def test_an_experiment_is_swept_in_the_folders_of_its_artifacts_alone(store: Store) -> None:
    manifest, left = published(store), f"{HIDDEN}{dead_owner()}-0123456789ab"
    ours = ["toy", "toy/round_01", KEY, f"{KEY}/{manifest.version}"]
    others = ["", ".dagster", "toy/.mine", "toy/Mine", "other", f"{KEY}/{manifest.version}/model", f"{KEY}/.tmp-mine"]
    for folder in (*ours, *others):
        (store.root / folder / left).mkdir(parents=True)
    assert store.sweep("toy") == len(ours)
    assert [folder for folder in others if not (store.root / folder / left).is_dir()] == []


def test_a_sweeper_that_takes_every_folder_it_may_never_takes_one_in_use(tmp_path: Path) -> None:
    script = "import sys, pathlib\nfrom perseid.artifacts.disk import sweep\nprint('ready', flush=True)\n"
    script += "while True: sweep(pathlib.Path(sys.argv[1]))\n"
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as sweeper:
        assert sweeper.stdout is not None
        sweeper.stdout.readline()
        for _ in range(500):
            with hidden_folder(tmp_path) as folder:
                (folder / "note").write_text("in use")
                assert (folder / "note").read_text() == "in use"
        sweeper.kill()
    assert names(tmp_path) == []


def test_publishers_of_one_key_at_once_all_end_with_complete_versions(store: Store) -> None:
    contents = [b"one", b"two", b"one", b"three"] * 5
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda weights: published(store, weights), contents))
    assert complete(store) == sorted({manifest.version for manifest in made})
    assert len(complete(store)) == 3
    current = store.current(KEY)
    assert current is not None
    assert current.version in complete(store)


def complete(store: Store) -> list[str]:
    """The visible versions, each verified to its last byte."""
    versions = [name for name in os.listdir(store.place(KEY)) if not name.startswith((HIDDEN, "current"))]
    for version in versions:
        manifest = store.manifest(KEY, version)
        store.read(manifest, "training")
        store.folder(manifest)
        assert version_of(manifest.files) == version
    return sorted(versions)


def die_at_event(count: int) -> None:
    """Kill this process at its `count`th file operation from now."""
    left = [count]

    def hook(event: str, _: tuple[object, ...]) -> None:
        if event.startswith(("open", "os.", "shutil.", "fcntl.")) and event != "os.kill":
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


@pytest.mark.slow
def test_a_process_killed_before_any_of_its_file_operations_leaves_no_half_artifact(store: Store) -> None:
    first = published(store)
    table = (store.place(KEY) / first.version / "training.parquet").read_bytes()
    outcomes = []
    for count in range(1000):
        pid = os.fork()
        if pid == 0:
            try:
                die_at_event(count)
                with store.draft(KEY) as draft:
                    draft.path("training.parquet").write_bytes(table)
                    draft.path("model").mkdir()
                    draft.path("model/model.safetensors").write_bytes(b"new")
                    draft.publish("code", INPUTS)
            finally:
                os._exit(0)
        status = os.waitpid(pid, 0)[1]
        store.sweep("toy")
        assert not [name for name in os.listdir(store.place(KEY)) if name.startswith(HIDDEN)]
        versions, current = complete(store), store.current(KEY)
        assert current is not None
        assert first.version in versions
        outcomes.append((len(versions), current.version != first.version))
        for version in versions:
            if version != first.version:
                shutil.rmtree(store.place(KEY) / version)
        (store.place(KEY) / "current").write_text(first.version)
        if not os.WIFSIGNALED(status):
            break
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {(1, False), (2, False), (2, True)}


PUBLISHER = """
import sys
import polars as pl
from perseid.artifacts import Store
store = Store(sys.argv[1])
for number in range(10_000):
    with store.draft("toy/round_01/policy") as draft:
        draft.table("training", pl.DataFrame({"step": [number], "loss": [1.0], "tokens": [1]}))
        draft.path("model").mkdir()
        draft.path("model/model.safetensors").write_bytes(bytes([number % 256]) * 300_000)
        draft.publish("code", {})
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_publisher_killed_at_random_moments_never_leaves_a_visible_half_artifact(tmp_path: Path) -> None:
    rng = random.Random(7)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", PUBLISHER, str(tmp_path)], stdout=subprocess.PIPE) as publisher:
            assert publisher.stdout is not None
            publisher.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            publisher.kill()
        store = Store(tmp_path)
        versions, current = complete(store), store.current(KEY)
        assert current is not None
        assert current.version in versions
        store.sweep("toy")
        assert not list(tmp_path.rglob(f"{HIDDEN}*"))


@pytest.mark.parametrize("name", ["current", "manifest.json", "training.parquet", "model/config.json"])
def test_a_pipe_in_the_place_of_a_file_is_named_and_not_waited_for(store: Store, name: str) -> None:
    manifest = published(store)
    path = store.place(KEY) / ("" if name == "current" else manifest.version) / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match=re.escape(str(path))):
        store.read(KEY, "training"), store.folder(KEY)
