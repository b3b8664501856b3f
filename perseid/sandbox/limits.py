"""What one execution may use. Frozen; every field has its unit, its range and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, fields

KIB = 1024
MIB = 1024 * KIB

# name -> (lowest, highest) accepted value.
RANGES: dict[str, tuple[float, float]] = {
    "timeout_s": (0.01, 3600.0),
    "memory_bytes": (16 * MIB, 64 * 1024 * MIB),
    "output_bytes": (1, 64 * MIB),
    "scratch_bytes": (64 * KIB, 1024 * MIB),
    "code_bytes": (1, 16 * MIB),
    "stdin_bytes": (0, 64 * MIB),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one execution. Raises `ValueError` naming the field when a value leaves its range.

    timeout_s: wall seconds from the start of the execution, in [0.01, 3600]. Five seconds is ten times what a sympy
        `solve` of a competition problem takes.
    memory_bytes: address space that the execution may add to what the warm server already maps (CPython tier), or
        interpreter heap (fast tier), in [16 MiB, 64 GiB].
    output_bytes: standard output kept; a program that prints more gets status `output`. In [1, 64 MiB].
    scratch_bytes: size of the scratch folder (only where namespaces are in force), in [64 KiB, 1 GiB].
    code_bytes, stdin_bytes: longest program (a step together with the steps before it) and input, UTF-8 bytes; more is
        `refused` without being run. In [1, 16 MiB] and [0, 64 MiB].
    """

    timeout_s: float = 5.0
    memory_bytes: int = 512 * MIB
    output_bytes: int = 64 * KIB
    scratch_bytes: int = 8 * MIB
    code_bytes: int = 256 * KIB
    stdin_bytes: int = MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = RANGES[field.name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ValueError(f"Limits.{field.name}: expected a number in [{low:g}, {high:g}], got {value!r}")
