"""Runs the corpus as one of several users on one of several kernels, and prints what came of it as JSON.

    python hostile_run.py USER KERNEL TIER

USER: `present`, or `ordinary` (root becomes uid 12345 in a mount namespace of its own, in which no folder above the
interpreter is closed to others). KERNEL: `whole`, or `without-namespaces` (a filter answers EPERM to unshare, as
Docker's default profile does). TIER: `cpython` or `auto`.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from perseid.sandbox import Sandbox
from perseid.sandbox.server import kernel
from tests.perseid.sandbox import corpus

ORDINARY_UID = 12345


def become_ordinary() -> None:
    """Give up root for a uid that owns nothing, keeping the interpreter reachable."""
    home = Path.home()
    inside = [path for path in (Path(sys.base_prefix), Path(sys.prefix)) if home in path.parents]
    if inside and not home.stat().st_mode & 0o001:
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        descriptors = {path: os.open(path, os.O_PATH) for path in inside}
        kernel.mount("tmpfs", str(home), "tmpfs", 0, "mode=755")
        for path, fd in descriptors.items():
            path.mkdir(parents=True)
            kernel.mount(f"/proc/self/fd/{fd}", str(path), "", kernel.MS_BIND | kernel.MS_REC)
            os.close(fd)
    os.setgroups([])
    os.setresgid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
    os.setresuid(ORDINARY_UID, ORDINARY_UID, ORDINARY_UID)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def refuse_namespaces() -> None:
    """Answer EPERM to unshare(2) in this process and all it starts."""
    import pyseccomp

    rules = pyseccomp.SyscallFilter(defaction=pyseccomp.ALLOW)
    rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "unshare")
    rules.load()


def main(user: str, kernel_name: str, tier: str) -> None:
    if user == "ordinary":
        become_ordinary()
    if kernel_name == "without-namespaces":
        refuse_namespaces()
    results = {}
    for limits, on_time in ((corpus.SHORT, True), (corpus.PATIENT, False)):
        attacks = [attack for attack in corpus.load() if (attack.expect == "timeout") == on_time]
        with Sandbox(limits, workers=2, tier=tier) as sandbox:  # type: ignore[arg-type]
            capabilities = sandbox.capabilities()
            executions = sandbox.run_many([attack.code for attack in attacks])
        for attack, execution in zip(attacks, executions, strict=True):
            breach = "BREACH" in execution.stdout
            results[attack.name] = [execution.status, breach, execution.tier, execution.error]
    print(json.dumps({"capabilities": capabilities, "results": results}))


if __name__ == "__main__":
    main(*sys.argv[1:])
