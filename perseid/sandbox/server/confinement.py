"""Puts the layers in force: once in the server what can be prepared, then in every child before it sees a program.

Layer A (mandatory): no_new_privs, the seccomp filter, Landlock, resource limits, no capability, an unprivileged uid.
Layer B (where the kernel allows): namespaces. A layer that cannot be put in force stops the server (`Unavailable`) or
the child (which then ends without saying that it is confined): nothing runs half protected.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import Any

from . import kernel, landlock, namespaces

_NUM_FILES, _NUM_TASKS = 64, 64


class Unavailable(Exception):
    """A facility is missing; the message names it and the remedy."""


@dataclass(frozen=True)
class Filters:
    """For children with a scratch folder (layer B gives them one), and for those with layer A alone."""

    scratch: kernel.Filter
    alone: kernel.Filter


@dataclass(frozen=True)
class Confinement:
    """What the server prepared for its children. num_base_bytes: address space that the warm server itself maps."""

    seccomp: kernel.Filter | None
    ruleset: int | None
    own_process: int | None
    num_base_bytes: int
    report: dict[str, Any]

    @property
    def namespaced(self) -> bool:
        return self.own_process is not None


def establish(isolation: str, filters: Filters | None, readable: list[str]) -> Confinement:
    """Put in force what the server shares with its children, and prepare the rest. Raises `Unavailable`.

    readable: files, and folders with all below them, that a program may read.
    """
    base = _mapped_bytes()
    if filters is None:
        dropped = _drop_root_alone(keep_reading=False)
        return Confinement(None, None, None, base, _report([], None, None, dropped))
    abi = _landlock_abi()
    refusal = namespaces.available()
    was_root = os.geteuid() == 0
    if refusal is None:
        try:
            namespaces.enter(readable)
        except OSError as error:
            # Half a world is no world to go on in: the host starts over without layer B, or gives up.
            raise Unavailable(f"namespaces: {error}; retry=without") from error
        ruleset = landlock.create_ruleset(readable, namespaces.SCRATCH_PARENT)
        namespaces.enter_process_namespace()
        own = os.pidfd_open(os.getpid())
        return Confinement(filters.scratch, ruleset, own, base, _report(["A", "B"], abi, None, was_root))
    if isolation == "strict":
        raise Unavailable(
            f"namespaces: {refusal.strerror}; allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
            "kernel.apparmor_restrict_unprivileged_userns=0, or a container profile that lets unshare(2) pass), "
            "or use isolation='auto', which does without this second layer"
        )
    ruleset = landlock.create_ruleset(readable, None)
    _drop_root_alone(keep_reading=was_root and not _readable_by_others(readable))
    return Confinement(filters.alone, ruleset, None, base, _report(["A"], abi, refusal, was_root))


def establish_without_namespaces(filters: Filters, readable: list[str]) -> Confinement:
    """Layer A alone, where namespaces exist but could not be entered. Raises `Unavailable`."""
    abi, was_root, base = _landlock_abi(), os.geteuid() == 0, _mapped_bytes()
    ruleset = landlock.create_ruleset(readable, None)
    _drop_root_alone(keep_reading=was_root and not _readable_by_others(readable))
    refusal = OSError(1, "namespaces could not be entered")
    return Confinement(filters.alone, ruleset, None, base, _report(["A"], abi, refusal, was_root))


def _report(layers: list[str], abi: int | None, refusal: OSError | None, dropped: bool) -> dict[str, Any]:
    return {
        "layers": layers,
        "landlock_abi": abi,
        "namespaces": "B" in layers,
        "namespaces_refused": None if refusal is None else str(refusal.strerror),
        "uid": os.geteuid(),
        "uid_dropped": dropped,
    }


def _landlock_abi() -> int:
    try:
        return kernel.landlock_abi()
    except OSError as error:
        raise Unavailable(
            f"Landlock: {error.strerror}; use Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK and 'landlock' in the "
            "lsm= boot parameter"
        ) from error


def _readable_by_others(paths: list[str]) -> bool:
    for path in paths:
        while path != "/":
            if not os.stat(path).st_mode & 0o001 and os.path.isdir(path):
                return False
            path = os.path.dirname(path)
    return True


def _drop_root_alone(keep_reading: bool) -> bool:
    if os.geteuid() != 0:
        return False
    namespaces.drop_root(keep_reading)
    return True


def _mapped_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def confine(confinement: Confinement, config: dict[str, Any]) -> None:
    """In the child: put every layer in force. Raises `OSError` when one cannot be; then nothing untrusted may run."""
    if confinement.namespaced:
        namespaces.mount_scratch(config["scratch_bytes"])
    _limit(confinement.num_base_bytes, config)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)
    if confinement.seccomp is None or confinement.ruleset is None:
        return
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if confinement.namespaced:
        kernel.set_capabilities(0, 0)
    kernel.landlock_restrict(confinement.ruleset)
    os.close(confinement.ruleset)
    confinement.seccomp.load()


def _limit(num_base_bytes: int, config: dict[str, Any]) -> None:
    cpu_s = int(config["cpu_s"])
    for kind, soft, hard in (
        (resource.RLIMIT_AS, num_base_bytes + config["memory_bytes"], None),
        (resource.RLIMIT_FSIZE, config["file_bytes"], None),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_NOFILE, _NUM_FILES, None),
        (resource.RLIMIT_NPROC, _NUM_TASKS, None),
        (resource.RLIMIT_CORE, 0, None),
        (resource.RLIMIT_MEMLOCK, 0, None),
        (resource.RLIMIT_MSGQUEUE, 0, None),
    ):
        resource.setrlimit(kind, (soft, soft if hard is None else hard))
