"""The process that scores answers to reasoning-gym's questions: a line of JSON a question, and a score or null for it.

It is run by path, and confined before it reads the first answer: what a scorer evaluates can read Python's own folders,
and nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from typing import Any


def main() -> None:
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nowhere, standard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is heard of by the pipe
    warnings.simplefilter("ignore")
    sys.path.insert(0, json.loads(requests.readline()))
    import reasoning_gym  # noqa: F401  before the walls are up: it takes seconds

    _confine()
    os.dup2(nowhere, 2)
    _say({"ready": True}, answers)
    for line in requests:
        _say(_score(*json.loads(line)), answers)


def _confine() -> None:
    """Raises `OSError` or `RuntimeError` where a wall cannot be put up: then nothing is scored."""
    from perseid.sandbox.server import kernel, landlock
    from perseid.sandbox.server.seccomp import compile_filter

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    readable = [folder for folder in {sys.prefix, sys.base_prefix, *sys.path[1:]} if os.path.isdir(folder)]
    program = kernel.Filter(compile_filter(False))
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    ruleset = landlock.create_ruleset([*readable, os.devnull], None)
    kernel.landlock_restrict(ruleset)
    os.close(ruleset)
    program.load()


def _say(said: Any, answers: Any) -> None:
    line = memoryview(json.dumps(said).encode() + b"\n")
    while line:
        line = line[answers.write(line) :]


def _score(gold: dict[str, Any], answer: str) -> float | None:
    """None where the scorer fails on the data set's own answer as well."""
    import reasoning_gym

    try:
        made = reasoning_gym.create_dataset(gold["data_set"], seed=0, size=1, **gold["config"])
        entry = _as_made(gold["data_set"], gold["entry"])
    except Exception:
        return None
    try:
        return float(made.score_answer(answer, entry))
    except MemoryError:
        return None
    except Exception:
        return 0.0 if _scores_itself(made, entry) else None


def _scores_itself(made: Any, entry: dict[str, Any]) -> bool:
    try:
        return bool(made.score_answer(entry["answer"], entry) >= 1.0)
    except Exception:
        return False


def _as_made(data_set: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Some compare with tuples, of which JSON makes lists."""
    return {**entry, "metadata": _tuples(entry["metadata"])} if data_set in ("arc_agi", "rearc") else entry


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, list) else value


if __name__ == "__main__":
    main()
