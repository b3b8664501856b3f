"""The process that makes questions of reasoning-gym: run by path, told what is wanted as JSON; it writes a line each.

It is told the data set, its settings, seed and size. Where one of them is not taken, the line says which and why.
"""

import difflib
import json
import os
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy


def main(wanted: str) -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what data sets print is no question
    for line in found(**json.loads(wanted)):
        print(json.dumps(line, default=_plain), file=out)
    out.flush()


def found(data_set: str, config: dict[str, Any], seed: int, size: int) -> Iterator[dict[str, Any]]:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if data_set not in DATASETS or data_set == "composite":
        near = difflib.get_close_matches(data_set, list(DATASETS), n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        known = ", ".join(sorted(set(DATASETS) - {"composite"}))
        yield {"fault": "data_set", "expected": f"reasoning-gym has no data set {data_set!r}{hint}; it has {known}"}
        return
    try:
        _seed(seed)
        made = reasoning_gym.create_dataset(data_set, seed=seed, size=size, **config)
        first = _made(made, seed, 0)
    except Exception as error:  # of a setting: whatever the data set makes of it
        told = str(error) or type(error).__name__
        yield {"fault": "config", "expected": f"expected settings of the data set {data_set}: {told}"}
        return
    yield first
    for index in range(1, size):
        yield _made(made, seed, index)


def _made(data_set: Any, seed: int, index: int) -> dict[str, Any]:
    _seed(seed + index)
    return dict(data_set[index])


def _seed(seed: int) -> None:
    """Of the generators that all modules share, from which some data sets draw."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)


def _plain(value: Any) -> Any:
    """Of numpy's numbers and arrays, and of sets."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


if __name__ == "__main__":
    main(sys.argv[1])
