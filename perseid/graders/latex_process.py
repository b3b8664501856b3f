"""The process that compares mathematics: it reads pairs as lines of JSON, and writes a verdict a line.

It is run by path and imports nothing of Perseid. math-verify is told to be strict: a decimal that is near is another
number, and per cent on one side alone is refused. It takes errors within sympy for a difference.
"""

from __future__ import annotations

import json
import logging
import math
import os
import resource
import signal
import sys
import time
from typing import Any, Final

LIMIT_CPU_S: Final = 3  # a comparison that ends takes a tenth of a second, seldom one
DIGITS: Final = 30  # to which two expressions must agree


def _serve() -> None:
    """The process: a verdict a line. What its libraries print must not be read as one."""
    import math_verify  # type: ignore[import-untyped]  # noqa: F401  before the limits: it takes seconds

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is heard of by the pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(1), "w", buffering=1) as out, open(os.devnull, "w", encoding="ascii") as nowhere:
        print("ready", file=out)
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        for line in sys.stdin:
            limit_s = math.ceil(time.process_time() + LIMIT_CPU_S)
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
            print(json.dumps(_compared(*json.loads(line))), file=out)


def _compared(answer: str, gold: str) -> bool | None:
    from math_verify import verify

    try:
        right = _expressions(gold)
    except Exception:
        return None
    try:
        found = _expressions(answer)
    except MemoryError:
        return None
    except Exception:
        return False  # any text may make the grammar raise: no mathematics, so not the right answer
    if not right:
        return None
    if not found or ("%" in answer) != ("%" in gold):
        return False
    try:
        return bool(
            verify(
                right, found, float_rounding=DIGITS, numeric_precision=DIGITS, timeout_seconds=None, raise_on_error=True
            )
        )
    except Exception:
        return None


def _expressions(text: str) -> list[Any]:
    """What math-verify reads in one formula, with or without its dollars; nothing in a text with several."""
    from math_verify import LatexExtractionConfig, parse

    inner = text.removeprefix("$").removesuffix("$") if text.startswith("$") and text.endswith("$") else text
    if not inner.strip() or "$" in inner.replace("\\$", ""):
        return []
    options: dict[str, Any] = {"fallback_mode": "no_fallback", "parsing_timeout": None, "raise_on_error": True}
    return list(parse(f"${inner}$", [LatexExtractionConfig()], **options))


if __name__ == "__main__":
    _serve()
