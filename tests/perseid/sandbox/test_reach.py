"""No program finds, imports, reads or lists what is neither the standard library's nor a package the sandbox names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from perseid.sandbox import Sandbox, SandboxUnavailable, standard_library

RUN = Path(__file__).parent / "reach_run.py"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def report(interpreter: str, user: str, kernel: str) -> dict[str, Any]:
    """What the program found, started by this environment's interpreter or by the one beneath it."""
    environment, executable = dict(os.environ), sys.executable
    if interpreter == "base":
        executable = str(Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}"))
        environment["PYTHONPATH"] = sysconfig.get_paths()["purelib"]
    command = [executable, str(RUN), user, kernel]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True, env=environment)
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


@pytest.mark.parametrize("interpreter", ["environment", pytest.param("base", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kernel", ["whole", pytest.param("without-namespaces", marks=pytest.mark.slow)])
@pytest.mark.parametrize("user", ["present", pytest.param("ordinary", marks=[AS_ROOT, pytest.mark.slow])])
def test_no_module_outside_the_list_can_be_found_imported_read_or_listed(
    interpreter: str, kernel: str, user: str
) -> None:
    found = report(interpreter, user, kernel)
    assert found["layers"] == (["A", "B"] if kernel == "whole" else ["A"])
    assert len(found["told"]["names"]) > 50
    for status, error, printed in found["outcomes"]:
        assert (status, error) == ("ok", None)
        seen, path = json.loads(printed)
        assert seen == []
        assert all(entry.endswith("lib-dynload") for entry in path)


def test_the_block_holds_what_python_calls_its_own_and_nothing_else() -> None:
    names = {name for name, _ in standard_library.modules(Path(sysconfig.get_paths()["stdlib"]))}
    tops = {name.partition(".")[0] for name in names}
    assert {name for name in tops if not name.startswith("_sysconfigdata")} <= sys.stdlib_module_names
    assert {"json.decoder", "os", "xml.dom.minidom"} <= names
    assert not {name for name in names if {"test", "tests", "ensurepip", "site-packages"} & set(name.split("."))}


def test_programs_have_the_standard_library_that_python_has(tmp_path: Path) -> None:
    code = (
        "import importlib, sys\n"
        "for name in sorted(sys.stdlib_module_names - {'antigravity', 'this', 'ensurepip', 'idlelib', 'turtledemo'}):\n"
        "    try:\n        importlib.import_module(name)\n        print(name)\n"
        "    except (ImportError, OSError, SystemError) as error:\n        pass\n"
    )
    plain = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    with Sandbox(tier="cpython", preload=()) as sandbox:
        execution = sandbox.run(code)
    assert (execution.status, execution.stdout.split()) == ("ok", plain.stdout.split())


def test_a_package_of_the_named_ones_has_all_its_parts_and_their_sources() -> None:
    code = (
        "import importlib, inspect, sympy, numpy, sys\nimportlib.invalidate_caches()\n"
        "import sympy.physics.mechanics, numpy.polynomial.hermite_e\n"
        "print(len(inspect.getsource(sympy.physics.mechanics)) > 0, exit, sys.orig_argv, 'perseid' in sys.modules)"
    )
    with Sandbox(tier="cpython") as sandbox:
        execution = sandbox.run(code)
    assert execution.stdout == "True Use exit() or Ctrl-D (i.e. EOF) to exit [''] False\n", execution.error


def test_a_package_that_is_not_installed_is_named() -> None:
    with (
        Sandbox(tier="cpython", preload=("no_such_package",)) as sandbox,
        pytest.raises(SandboxUnavailable, match="the package no_such_package is not installed"),
    ):
        sandbox.run("import no_such_package")


@pytest.mark.slow
def test_a_child_inherits_no_object_that_a_grading_or_an_earlier_program_made() -> None:
    attack = (RUN.parent / "attacks" / "secrets_what_lives.py.txt").read_text()
    with Sandbox(tier="cpython") as sandbox:
        for start in ("", "import sympy\n"):
            code = start + "def f():\n    return 'wxyzzy-planted'"
            assert sandbox.grade(code, "f", "assert f() != 'wxyzzy-gold'").passed
            assert sandbox.run(code).status == "ok"
            execution = sandbox.run(start + attack)
            assert (execution.status, execution.stdout) == ("ok", "")
