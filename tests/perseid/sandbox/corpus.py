"""The attack corpus: one hostile program a file in `attacks/`, what it tries and how it must end in its header.

    # attack: what it tries
    # expect: the exact status
    # expect-without-namespaces: the exact status where layer B is off, if another
    # expect-fast: the exact status where the fast tier answers, if another (docs/sandbox.md says why)
    # machine: the only architecture it makes sense on, if any

A program that gets what it wants prints BREACH.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from perseid.sandbox import Limits

FOLDER = Path(__file__).parent / "attacks"
# Attacks on time run under the short limit; the others have all the time a busy machine may need to end as they must.
SHORT = Limits(timeout_s=0.6, memory_bytes=128 << 20, output_bytes=16 << 10)
PATIENT = Limits(timeout_s=60.0, memory_bytes=128 << 20, output_bytes=16 << 10)


@dataclass(frozen=True)
class Attack:
    name: str
    code: str
    expect: str
    expect_without_namespaces: str
    expect_fast: str

    def expected(self, namespaces: bool, tier: str) -> str:
        """The status this attack must end with."""
        if tier == "fast":
            return self.expect_fast
        return self.expect if namespaces else self.expect_without_namespaces


def load() -> list[Attack]:
    """Every attack that makes sense on this machine, by name."""
    attacks = []
    for path in sorted(FOLDER.glob("*.py.txt")):
        code = path.read_text()
        header = dict(re.findall(r"^# ([\w-]+): (.*)$", code, re.MULTILINE))
        if header.get("machine", platform.machine()) == platform.machine():
            expect = header["expect"]
            name, alone = path.name.removesuffix(".py.txt"), header.get("expect-without-namespaces", expect)
            attacks.append(Attack(name, code, expect, alone, header.get("expect-fast", expect)))
    return attacks
