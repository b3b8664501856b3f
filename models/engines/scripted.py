"""An engine that answers by rule: a deterministic function of (prompt, seed), whatever the batch.

For tests and benchmarks. `ScriptedEngine(rule)` calls `rule(prompt, seed)`; `Choices(options)` is such a rule: it draws
one of the texts that `options(prompt)` gives, each ended by its stop string.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perseid.engine import Completion, Generate

Rule = Callable[[str, int], Completion]


@dataclass(frozen=True)
class Choices:
    """Draws evenly among `options(prompt)`: pairs of a text and the stop string that ended it. One token a word."""

    options: Callable[[str], Sequence[tuple[str, str]]]

    def __call__(self, prompt: str, seed: int) -> Completion:
        options = self.options(prompt)
        digest = hashlib.sha256(f"{seed}\0{prompt}".encode()).digest()
        text, stop = options[int.from_bytes(digest[:8], "big") % len(options)]
        return Completion(text, stop, len(text.split()) + 1)


@dataclass(frozen=True)
class ScriptedEngine:
    rule: Rule
    weights: str = "scripted"
    concurrency: int = 0

    async def generate(self, requests: Sequence[Generate]) -> list[Completion]:
        answers, last, text = [], None, ""
        for request in requests:
            if request.prompt is not last:
                last, text = request.prompt, request.prompt.text
            answers.append(self.rule(text, request.seed))
        return answers
