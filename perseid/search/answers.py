"""A request's answers on their way into the journal and out of it: kinds, digests, columns.

Columns, because they deflate better than rows; a number instead of a stop string that the request names.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import starmap
from types import NoneType
from typing import Any, Final, cast

from perseid.engine import Completion
from perseid.search.requests import Answers, Execute, Grade, Outcome, Propose, Request, Score

KIND: Final[dict[type[Request], str]] = {Propose: "P", Execute: "E", Score: "S", Grade: "G"}
TEXT: Final[set[type]] = {str}
PROPOSED: Final[list[set[type]]] = [TEXT, {int, str}, {int}, TEXT]  # texts, stops, tokens, refusals
ENDED: Final = "X"  # not an answer: the driver ended the tree, and why


def digest(request: Request) -> int:
    """32 bits over what is asked: a replayed answer must have been the answer to this."""
    match request:
        case Propose(prompt, seeds, _, _, role):  # the sampling follows from the method, which the journal's key names
            parts = [prompt.text, str(seeds), role]
        case Execute(_, prefix, codes):
            parts = [*prefix, *codes]
        case Score(prefixes, role):
            parts = [*(prefix.text for prefix in prefixes), role]
        case Grade(answers):
            parts = list(answers)
    return zlib.crc32("\0".join(parts).encode("utf-8", "surrogatepass"))


def encoded(request: Request, answers: Sequence[Any]) -> Any:
    """The answers as JSON holds them."""
    match request:
        case Propose(_, _, sampling, _, _):
            stops = [sampling.stop.index(a.stop) if a.stop in sampling.stop else a.stop for a in answers]
            columns = [[a.text for a in answers], stops, [a.num_tokens for a in answers]]
            return [*columns, [a.refusal for a in answers]] if any(a.refusal for a in answers) else columns
        case Execute():
            return [[getattr(a, column) for a in answers] for column in Outcome._fields]
        case Grade():
            return [None if a is None else int(a) for a in answers]
    return list(answers)


def decoded(request: Request, recorded: Any) -> Answers:
    """The inverse of `encoded`. Raises `ValueError` for what are no answers to this request."""
    match request:
        case Propose(_, seeds, sampling, _, _):
            texts, numbers, *rest = _columns(recorded, len(seeds), PROPOSED, least=3)
            if any(isinstance(n, int) and not 0 <= n < len(sampling.stop) for n in numbers):
                raise ValueError("a stop string that was not asked for")
            stops = [sampling.stop[n] if isinstance(n, int) else n for n in numbers]
            return list(starmap(Completion, zip(texts, stops, *rest, strict=True)))
        case Execute(_, _, codes):
            return list(starmap(Outcome, zip(*_columns(recorded, len(codes), [TEXT] * 4), strict=True)))
        case Score(prefixes, _):
            return cast(list[float], _columns([recorded], len(prefixes), [{float, int}])[0])
        case Grade(answers):
            [verdicts] = _columns([recorded], len(answers), [{int, NoneType}])
            return [None if verdict is None else bool(verdict) for verdict in verdicts]


def _columns(recorded: Any, count: int, types: Sequence[set[type]], least: int | None = None) -> list[list[Any]]:
    """`recorded` if it is a list of columns of these types, `count` long; the last ones may be missing."""
    if not isinstance(recorded, list) or not (least or len(types)) <= len(recorded) <= len(types):
        raise ValueError("another number of columns")
    for column, kind in zip(recorded, types, strict=False):
        if not isinstance(column, list) or len(column) != count:
            raise ValueError("another number of answers")
        if not set(map(type, column)) <= kind:
            raise ValueError("an answer of another type")
    return recorded
