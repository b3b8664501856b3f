"""Where a text ends: at a token, or where the text spells a stop string, as vLLM finds them.

A stop string that is a special token of the tokenizer is met as that token alone, exactly. Any other is met in the
text, of whatever tokens it is made; the text ends before it, and of several that one token completes the first counts.
`END` is any token with which the checkpoint ends a text.
"""

from collections.abc import Sequence
from typing import NamedTuple

from models.render import Renderer
from perseid.engine import END


class Stops(NamedTuple):
    """tokens: by id, the stop that each is. strings: to be looked for. window: tokens that may spell the longest."""

    tokens: dict[int, str]
    strings: tuple[str, ...]
    window: int

    @classmethod
    def of(cls, renderer: Renderer, stops: Sequence[str]) -> "Stops":
        ends = dict.fromkeys(renderer.ends, END) if END in stops else {}
        special = {renderer.special[stop]: stop for stop in stops if stop in renderer.special}
        strings = tuple(stop for stop in stops if stop != END and stop not in renderer.special)
        # A token is a byte at least; a few more for a letter that is cut at the window's beginning.
        window = max((len(stop.encode()) for stop in strings), default=0) + 4
        return cls({**ends, **special}, strings, window)

    def first_in(self, text: str) -> tuple[int, str]:
        """Where the first stop string begins in `text`, and which it is; (-1, "") without one."""
        found = [(at, number) for number, stop in enumerate(self.strings) if (at := text.find(stop)) >= 0]
        at, number = min(found, default=(-1, -1))
        return (at, self.strings[number]) if found else (-1, "")
