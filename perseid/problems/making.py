"""What an experiment asks, made of its sources: the held-out set and what demonstrates; a round's pool.

The same section, seed and files give the same problems, whoever asks and whatever was made before.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from perseid.problems.problem import Item
from perseid.problems.settings import Problems
from perseid.problems.source import Asked, Brings, Brought, Draws, Promises, Redraws, Source


def opened(problems: Problems, seed: int, root: Path) -> list[Source]:
    """The training sources. `root`: what relative paths start from."""
    return [settings.opened(seed, root) for settings in problems.train]


def brought(problems: Problems, seed: int, root: Path) -> Brought:
    """The held-out set, and what demonstrates, of all sources. Raises `UserError` for what a source cannot give."""
    found = [source.brought() for source in opened(problems, seed, root) if isinstance(source, Brings)]
    return Brought(
        [item for one in found for item in one.held_out],
        [item for one in found for item in one.shown],
        [shown for one in found for shown in one.demonstrations],
    )


def drawn(problems: Problems, seed: int, root: Path, round: int, before: Sequence[Asked]) -> list[Item]:
    """What `round` searches, of the size in `problems.pool`; `before` is all that was asked so far."""
    source = opened(problems, seed, root)[0]
    assert isinstance(source, Draws)
    return source.draw(round, problems.pool, before)


def redraws(problems: Problems, seed: int, root: Path) -> dict[str, Redraws]:
    """By name, the sources that can ask the same anew."""
    return {source.name: source for source in opened(problems, seed, root) if isinstance(source, Redraws)}


def promises(problems: Problems, seed: int, root: Path) -> dict[str, Promises]:
    """By name, the sources that promise something of their splits."""
    return {source.name: source for source in opened(problems, seed, root) if isinstance(source, Promises)}


def key(problems: Problems, root: Path) -> str:
    """16 hex digits of what the sources hold, settings apart. Raises `UserError` for a file that cannot be read."""
    return _digest({where: source.key(root) for where, source in problems.keyed()})


def redraws_key(problems: Problems, root: Path) -> str:
    """The same, of what can ask anew."""
    keys = {where: source.redraws_key(root) for where, source in problems.keyed()}
    return _digest({where: found for where, found in keys.items() if found is not None})


def prelude_key(problems: Problems) -> str:
    """16 hex digits of the prelude's text: what programs do depends on it."""
    return hashlib.sha256(problems.prelude().encode()).hexdigest()[:16]


def _digest(keys: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]
