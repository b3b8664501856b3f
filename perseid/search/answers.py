"""A request's answers on their way into the journal and out of it: kinds, digests, columns.

Columns, because they deflate better than rows; a number instead of a stop string that the request names.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import starmap
from typing import Any, Final

from perseid.engine import Completion
from perseid.search.requests import Execute, Grade, Outcome, Propose, Request, Score

KIND: Final[dict[type[Request], str]] = {Propose: "P", Execute: "E", Score: "S", Grade: "G"}
ENDED: Final = "X"  # not an answer: the driver ended the tree, and why


def digest(request: Request) -> int:
    """32 bits over what is asked: a replayed answer must have been the answer to this."""
    match request:
        case Propose(prompt, seeds, _, _):  # the sampling follows from the settings, which the journal's key names
            parts = [prompt, str(seeds)]
        case Execute(_, prefix, codes):
            parts = [*prefix, *codes]
        case Score(prefixes):
            parts = list(prefixes)
        case Grade(answers):
            parts = list(answers)
    return zlib.crc32("\0".join(parts).encode("utf-8", "surrogatepass"))


def encoded(request: Request, answers: Sequence[Any]) -> Any:
    """The answers as JSON holds them."""
    match request:
        case Propose(_, _, sampling, _):
            stops = [sampling.stop.index(a.stop) if a.stop in sampling.stop else a.stop for a in answers]
            columns = [[a.text for a in answers], stops, [a.num_tokens for a in answers]]
            return [*columns, [a.refusal for a in answers]] if any(a.refusal for a in answers) else columns
        case Execute():
            return [[getattr(a, column) for a in answers] for column in ("status", "stdout", "error", "tier")]
        case Grade():
            return [int(a) for a in answers]
    return list(answers)


def decoded(request: Request, recorded: Any) -> list[Any]:
    """The inverse of `encoded`."""
    match request:
        case Propose(_, _, sampling, _):
            texts, numbers, *rest = recorded
            stops = [sampling.stop[n] if isinstance(n, int) else n for n in numbers]
            return list(starmap(Completion, zip(texts, stops, *rest, strict=True)))
        case Execute():
            return list(starmap(Outcome, zip(*recorded, strict=True)))
        case Grade():
            return [bool(a) for a in recorded]
    return list(recorded)
