"""A tree under way: the search that asks, what it waits for, and what it has had so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from perseid.endings import Ended
from perseid.engine import Completion
from perseid.problems.problem import Problem
from perseid.search import kernel
from perseid.search.answers import ENDED, KIND, decoded, digest, encoded
from perseid.search.journal import Entry, Replay
from perseid.search.requests import Answers, Asking, Propose, Request
from perseid.search.tree import Tree


@dataclass(slots=True, eq=False)
class Live:
    """`request` is what it waits for; when there is none, `tree` is what the search came to."""

    index: int
    problem: Problem
    asking: Asking[Tree]
    request: Request | None = None
    tree: Tree | None = None
    proposals: int = 0  # answered
    served_s: float = 0.0  # in which something worked for it

    def begin(self) -> None:
        try:
            self.request = next(self.asking)
        except StopIteration as end:
            self.tree = end.value

    def go_on(self, answers: Answers) -> int:
        """Hand over what was asked for; the tokens that were generated for it."""
        tokens = 0
        if isinstance(self.request, Propose):
            self.proposals += 1
            tokens = sum(completion.num_tokens for completion in cast(list[Completion], answers))
        try:
            self.request = self.asking.send(answers)
        except StopIteration as end:
            self.request, self.tree = None, end.value
        return tokens

    def end(self, why: Ended) -> None:
        """Only at a proposal, where the tree is whole."""
        try:
            self.asking.throw(kernel.Stop(why))
        except StopIteration as end:
            self.request, self.tree = None, end.value

    def replay(self, recorded: Replay) -> int:
        """Go through what the journal has of it; the tokens that were generated.

        Raises `UserError` for a journal that holds anything but what this tree was answered.
        """
        tokens = 0
        while self.request is not None:
            if (why := recorded.ends_with(ENDED)) is not None:
                if why != "seconds" or not isinstance(self.request, Propose):
                    raise recorded.damaged("expected answers")
                self.end("seconds")
            elif (answers := recorded.next(KIND[type(self.request)], digest(self.request))) is not None:
                try:
                    given = decoded(self.request, answers)
                except ValueError as error:
                    raise recorded.damaged(f"expected answers to what was asked, found {error}") from error
                tokens += self.go_on(given)
            else:
                return tokens
        recorded.close()
        return tokens

    def entry(self, answers: Answers) -> Entry:
        """What the journal keeps of these answers."""
        assert self.request is not None
        return self.index, KIND[type(self.request)], digest(self.request), encoded(self.request, answers)
