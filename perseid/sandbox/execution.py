"""The records that the sandbox hands out. Data only: frozen, picklable, without behaviour beyond validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal[
    "ok",  # ran to its end
    "error",  # the code raised, or does not compile
    "timeout",  # passed its wall time, or the CPU time that follows from it
    "memory",  # ended by running out of its memory
    "output",  # printed more than its cap
    "exited",  # left without finishing, whatever its exit code
    "crashed",  # killed by a signal of its own making (segmentation fault, forbidden architecture)
    "refused",  # input over its limit: never run
    "sandbox_error",  # infrastructure: says nothing about the code, and is never a reward
]
Tier = Literal["fast", "cpython"]
Isolation = Literal["auto", "strict", "none"]


@dataclass(frozen=True, slots=True)
class Execution:
    """What the supervisor saw of one execution.

    stdout: decoded with replacement of malformed bytes, at most `Limits.output_bytes` bytes.
    error: one line for people: the exception, or why the sandbox stopped it. None when status is `ok`. The text comes
        from the code itself and proves nothing.
    cpu_s: user + system seconds of the executing process (fast tier: equal to wall_s).
    wall_s: seconds from start to end, without waiting for a free worker.
    exit_code: of the process; None when it was killed or when no process was made.
    max_rss_bytes: peak resident set of the process, the warm server's shared pages included; 0 where unknown (fast).
    truncated: True when stdout was cut at its cap.
    """

    status: Status
    stdout: str
    error: str | None
    cpu_s: float
    wall_s: float
    exit_code: int | None
    max_rss_bytes: int
    truncated: bool
    tier: Tier


@dataclass(frozen=True, slots=True)
class State:
    """Where a program stands after some steps: what a tree node keeps. Opaque to its holder.

    steps: sources of the steps that ended `ok`, in order.
    snapshot: interpreter state of the fast tier (some kilobytes), None while running the steps again is as quick, once
        a step needed the CPython tier, or in a state rebuilt by `State.of`. Never load a snapshot that comes from
        outside this program's own files.
    needs_cpython: True once a step could not run on the fast tier.
    num_kept, again_s: how many of the steps `snapshot` holds the effect of, and the seconds that the others take.
    """

    steps: tuple[str, ...] = ()
    snapshot: bytes | None = None
    needs_cpython: bool = False
    num_kept: int = 0
    again_s: float = 0.0

    @classmethod
    def of(cls, *steps: str) -> State:
        """The state after `steps`, to be rebuilt by running them at the next `extend` (resume from a journal)."""
        return cls(steps=steps)


class SandboxFailure(RuntimeError):
    """The sandbox itself failed. Never a reward: the run stops, and its journal lets it go on later."""


class SandboxUnavailable(RuntimeError):
    """The kernel lacks a mandatory facility, or it cannot be put in force; the message names it and the remedy."""


def refused(reason: str, tier: Tier) -> Execution:
    """An execution that never happened because its input is over a limit."""
    return Execution("refused", "", reason, 0.0, 0.0, None, 0, False, tier)


def infrastructure_failure(reason: str, tier: Tier) -> Execution:
    """An execution that the sandbox itself could not carry out."""
    return Execution("sandbox_error", "", reason, 0.0, 0.0, None, 0, False, tier)
