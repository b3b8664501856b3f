"""What this kernel offers the sandbox, what is in force, and what is missing with its remedy."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from perseid.sandbox.execution import Isolation, SandboxUnavailable
from perseid.sandbox.sandbox import Sandbox
from perseid.sandbox.server import kernel, namespaces, seccomp


@dataclass(frozen=True, slots=True)
class Finding:
    """One facility. mandatory: without it the sandbox refuses to run generated code."""

    facility: str
    present: bool
    mandatory: bool
    detail: str


def examine() -> list[Finding]:
    """Probe this machine; changes nothing outside short-lived child processes."""
    return [
        Finding("Linux", sys.platform == "linux", True, f"{platform.system()} {platform.release()}, 5.13 or later"),
        _probe(
            "seccomp filter", True, lambda: bool(seccomp.compile_filter(True)), "install libseccomp 2 and pyseccomp"
        ),
        _probe("Landlock", True, _landlock, "Linux 5.13 or later with 'landlock' in the lsm= boot parameter"),
        _probe("namespaces", False, _namespaces, "let unshare(2) with CLONE_NEWUSER pass; until then layer A alone"),
        Finding("unprivileged uid", True, True, "root is given up" if os.geteuid() == 0 else f"uid {os.geteuid()}"),
    ]


def _probe(facility: str, mandatory: bool, attempt: Callable[[], object], remedy: str) -> Finding:
    try:
        found = attempt()
    except (OSError, ImportError, RuntimeError, TypeError) as error:
        return Finding(facility, False, mandatory, f"{error}; {remedy}")
    return Finding(facility, True, mandatory, "" if found is True else str(found))


def _landlock() -> str:
    return f"version {kernel.landlock_abi()}"


def _namespaces() -> bool:
    refusal = namespaces.available()
    if refusal is not None:
        raise refusal
    return True


def main(isolation: Isolation = "auto") -> int:
    """Print the findings and what a server reports to be in force; the exit code is 0 only if code can run here."""
    for finding in examine():
        mark = "ok     " if finding.present else "MISSING" if finding.mandatory else "absent "
        print(f"{mark}  {finding.facility:<18} {finding.detail}")
    try:
        with Sandbox(isolation=isolation) as sandbox:
            print("in force:", ", ".join(f"{key}={value}" for key, value in sandbox.capabilities().items()))
            outcome = sandbox.run("import socket\nsocket.socket()", tier="cpython")
    except SandboxUnavailable as missing:
        print(f"refused: {missing}")
        return 1
    held = outcome.status == "error" and "PermissionError" in (outcome.error or "")
    print("a program that opens a socket:", outcome.error if held else f"NOT HELD ({outcome.status})")
    return 0 if held else 1
