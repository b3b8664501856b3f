"""What cannot be put in force is refused by name, and never quietly left out."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

from perseid.sandbox import Limits, Sandbox, doctor
from tests.perseid.sandbox.hostile_run import ORDINARY_UID

ROOT = Path(__file__).parents[3]
ON_A_KERNEL_WITHOUT = """
import errno, json, sys
import pyseccomp
from perseid.sandbox import Sandbox, SandboxUnavailable
calls, isolation = json.loads(sys.argv[1]), sys.argv[2]
rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
for name, number in calls.items():
    rules.add_rule(pyseccomp.ERRNO(getattr(errno, number)), name)
rules.load()
try:
    with Sandbox(isolation=isolation, tier="cpython", preload=()) as sandbox:
        print(json.dumps([sandbox.run("print(1)").stdout, sandbox.capabilities()["layers"]]))
except SandboxUnavailable as missing:
    print(json.dumps(["refused", str(missing)]))
"""


def on_a_kernel_without(calls: dict[str, str], isolation: str = "auto") -> tuple[str, str]:
    """What a sandbox says on a kernel that answers `calls` with these errors."""
    command = [sys.executable, "-c", ON_A_KERNEL_WITHOUT, json.dumps(calls), isolation]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = json.loads(finished.stdout)
    return first, second


def test_without_landlock_nothing_runs_and_the_remedy_is_named() -> None:
    first, message = on_a_kernel_without({"landlock_create_ruleset": "ENOSYS"})
    assert first == "refused"
    assert message.startswith("Landlock: ")
    assert "lsm=" in message


def test_without_seccomp_nothing_runs() -> None:
    first, message = on_a_kernel_without({"seccomp": "EINVAL"})
    assert first == "refused"
    assert "seccomp" in message


def test_where_landlock_cannot_be_put_in_force_nothing_runs() -> None:
    first, message = on_a_kernel_without({"landlock_restrict_self": "EPERM"})
    assert first == "refused"
    assert "landlock_restrict_self" in message


def test_without_namespaces_layer_a_goes_on_alone() -> None:
    assert on_a_kernel_without({"unshare": "EPERM"}) == ("1\n", ["A"])


def test_where_mounts_are_refused_layer_a_goes_on_alone() -> None:
    assert on_a_kernel_without({"mount": "EPERM"}) == ("1\n", ["A"])


def test_strict_isolation_refuses_to_do_without_namespaces() -> None:
    first, message = on_a_kernel_without({"unshare": "EPERM"}, "strict")
    assert first == "refused"
    assert message.startswith("namespaces: ")
    assert "user.max_user_namespaces" in message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can fail to give up root")
def test_root_that_cannot_be_given_up_refuses_to_run() -> None:
    first, message = on_a_kernel_without({"setresuid": "EPERM", "unshare": "EPERM"})
    assert first == "refused"
    assert "not permitted" in message.lower()


def test_no_isolation_must_be_written_by_name_warns_and_is_reported() -> None:
    with pytest.warns(UserWarning, match="isolation='none'"):
        sandbox = Sandbox(isolation="none", preload=())
    with sandbox:
        capabilities = sandbox.capabilities()
        uid = sandbox.run("import os\nprint(os.getuid())", tier="cpython").stdout
    assert (capabilities["isolation"], capabilities["layers"]) == ("none", [])
    assert int(uid) != 0


def test_an_unknown_isolation_is_named() -> None:
    with pytest.raises(ValueError, match="expected auto, strict or none, got 'off'"):
        Sandbox(isolation="off")  # type: ignore[arg-type]


def test_the_doctor_finds_what_the_sandbox_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert all(finding.present for finding in doctor.examine() if finding.mandatory)
    assert doctor.main() == 0
    printed = capsys.readouterr().out
    assert "in force: isolation=auto" in printed
    assert "a program that opens a socket: PermissionError" in printed


def test_programs_cannot_leave_anything_for_each_other() -> None:
    with Sandbox(Limits(timeout_s=2), tier="cpython", preload=()) as sandbox, warnings.catch_warnings():
        sandbox.run("import builtins, math\nbuiltins.x = math.x = 1\nopen('left', 'w').write('x')")
        found = sandbox.run(
            "import builtins, math, os\nprint(hasattr(builtins, 'x'), hasattr(math, 'x'), os.path.exists('left'))"
        )
    assert found.stdout == "False False False\n"


ON_A_FILE_OF_ITS_USER = """
import json, os, sys
from tests.perseid.sandbox import hostile_run
from perseid.sandbox import Sandbox
hostile_run.become_ordinary()
hostile_run.refuse_namespaces()
refusals = '''
import os
for change in (
    lambda: os.chmod(path, 0o4777), lambda: os.utime(path, (5, 5)), lambda: os.utime(path),
    lambda: os.truncate(path, 0), lambda: os.open(path, os.O_RDONLY | os.O_TRUNC), lambda: os.open(path, os.O_WRONLY),
    lambda: os.chmod(os.path.dirname(path), 0), lambda: os.rename(path, path + "2"),
):
    try:
        change()
        print("done")
    except OSError as error:
        print(error.errno)
'''
with Sandbox(tier="cpython", preload=()) as sandbox:
    execution = sandbox.run(f"path = {sys.argv[1]!r}" + refusals)
print(json.dumps([sandbox.capabilities()["layers"], execution.status, execution.stdout.split()]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_layer_a_alone_keeps_a_users_own_files_as_they_are() -> None:
    """By the filter: Landlock has no say in who may chmod, and before Linux 6.2 none in truncation."""
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "precious"
        file.write_text("precious")
        for path, mode in ((folder, 0o755), (file, 0o600)):
            os.chown(path, ORDINARY_UID, ORDINARY_UID)
            path.chmod(mode)
        before = [(path.stat().st_mode, path.stat().st_mtime_ns) for path in (folder, file)]
        command = [sys.executable, "-c", ON_A_FILE_OF_ITS_USER, str(file)]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        after = [(path.stat().st_mode, path.stat().st_mtime_ns) for path in (folder, file)]
        assert (after, file.read_text()) == (before, "precious")
    layers, status, refusals = json.loads(finished.stdout)
    assert (layers, status) == (["A"], "ok")
    by_the_filter, by_landlock = str(errno.EPERM), str(errno.EACCES)
    assert refusals == [*[by_the_filter] * 5, by_landlock, *[by_the_filter] * 2]


def test_what_a_program_does_to_its_streams_ends_with_it() -> None:
    change = (
        "import fcntl, os\nprint(fcntl.fcntl(2, fcntl.F_GETFL))\n"
        "fcntl.fcntl(2, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)\n"
    )
    with Sandbox(tier="cpython", preload=()) as sandbox:
        before = os.stat("/dev/null").st_mtime_ns
        first = sandbox.run(change)
        assert (first.status, sandbox.run(change).stdout) == ("ok", first.stdout)
        assert sandbox.run("import fcntl\nfcntl.flock(2, fcntl.LOCK_EX)").status == "error"
        assert sandbox.run("import os\nos.utime(2)").status == "error"
        assert os.stat("/dev/null").st_mtime_ns == before
