"""Interpreter states of open nodes, within a bound on memory: the ones used longest ago are forgotten first.

A state that was forgotten is made again by running the steps that led to it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from perseid.sandbox import State

MAX_BYTES: Final = 1 << 30
_OVERHEAD_BYTES: Final = 500  # of a state without a snapshot, with its place here


class States:
    """States by (tree, node id). Those of a tree go with `drop`."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._states: OrderedDict[tuple[int, str], State] = OrderedDict()
        self._of_tree: dict[int, set[str]] = {}
        self.num_bytes = 0

    def put(self, tree: int, node_id: str, state: State) -> None:
        self._states[tree, node_id] = state
        self._of_tree.setdefault(tree, set()).add(node_id)
        self.num_bytes += _size(state)
        while self.num_bytes > self._max_bytes:
            self._forget(next(iter(self._states)))

    def take(self, tree: int, node_id: str) -> State | None:
        """The state, which is then no longer held; None where it is not."""
        return self._forget((tree, node_id)) if (tree, node_id) in self._states else None

    def drop(self, tree: int) -> None:
        for node_id in list(self._of_tree.get(tree, ())):
            self._forget((tree, node_id))

    def _forget(self, place: tuple[int, str]) -> State:
        state = self._states.pop(place)
        mine = self._of_tree[place[0]]
        mine.discard(place[1])
        if not mine:
            del self._of_tree[place[0]]
        self.num_bytes -= _size(state)
        return state


def _size(state: State) -> int:
    return _OVERHEAD_BYTES + len(state.snapshot or b"")
