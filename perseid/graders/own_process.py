"""The process of a user's own grader: it reads questions with answers as lines of JSON, and writes a line for each.

It is run by path and imports nothing of Perseid. What the grader prints is let go, and it has nothing to read. Where it
forks, the copy ends when it comes back here. When the parent has ended it ends with all that it started.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
import types
from typing import Any, Final

NAME: Final = "perseid_own_grader"
CPU_SHARE: Final = 100  # processor seconds for each second of a call's limit, after which nobody waits any more
MAX_REASON: Final = 300  # characters


def main() -> None:
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is heard of by the pipe
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with_parent, args=(requests.fileno(),), daemon=True).start()
    own = os.getpid()
    path, source, limit_s = json.loads(requests.readline())
    grade, loaded = _loaded(path, source)
    _say(loaded, answers, own)
    for line in requests:
        _bound(limit_s)
        call, *asked = json.loads(line)
        _say({"call": call, **(loaded if grade is None else _graded(grade, path, *asked))}, answers, own)


def _say(said: dict[str, Any], answers: Any, own: int) -> None:
    """A line. Of a fork of this process, nothing: it ends."""
    if os.getpid() != own:
        os._exit(0)
    line = memoryview(json.dumps(said).encode() + b"\n")
    while line:
        line = line[answers.write(line) :]


def _loaded(path: str, source: str) -> tuple[Any, dict[str, Any]]:
    """The function, and what is to be said of it."""
    module = types.ModuleType(NAME)
    module.__file__ = path
    sys.modules[NAME] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        grade = module.__dict__["grade"]
    except BaseException as error:
        return None, {"fault": "raised", "reason": _reason(error, path)}
    return grade, {"ready": True}


def _graded(grade: Any, path: str, question: str, gold: Any, answers: list[str]) -> dict[str, Any]:
    try:
        found = grade(question, gold, answers)
        if not isinstance(found, list | tuple):
            return {"fault": "returned", "reason": f"expected a list, it returned {type(found).__name__}"}
        if len(found) != len(answers):
            return {"fault": "length", "reason": f"expected {len(answers)} values, it returned {len(found)}"}
        return {"values": [_value(value) for value in found]}
    except BaseException as error:
        return {"fault": "raised", "reason": _reason(error, path)}


def _value(value: Any) -> float | str | None:
    """A number or None; a text where it is neither, which says what it is."""
    if value is None:
        return None
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        return f"expected numbers or None, it returned {type(value).__name__}"
    number = float(value)
    return number if math.isfinite(number) else f"expected finite numbers, it returned {number}"


def _reason(error: BaseException, path: str) -> str:
    """The exception, and the last line of the grader's file on its way."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    what = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
    return (what if not lines else f"{what} (line {lines[-1]})")[:MAX_REASON]


def _bound(limit_s: float) -> None:
    """Of processor time, for what hangs when nobody is there to end it."""
    used_s = math.ceil(time.process_time() + CPU_SHARE * limit_s) + 1
    _, hard_s = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s if hard_s < 0 else min(used_s, hard_s), hard_s))


def _end_with_parent(descriptor: int) -> None:
    """Once nobody can ask any more, with all of this group."""
    waiting = select.poll()
    waiting.register(descriptor, 0)  # of the other end's closing alone
    waiting.poll()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
