"""A tree under way: the search that asks, what it waits for, and what it has had so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from perseid.endings import Ended
from perseid.engine import Completion
from perseid.problems.problem import Problem
from perseid.search.answers import ENDED, KIND, decoded, digest, encoded
from perseid.search.journal import Entry, Replay
from perseid.search.method import Stop
from perseid.search.requests import Answers, Asking, Batch, Propose, Request, asks_of
from perseid.search.tree import Tree


@dataclass(slots=True, eq=False)
class Asked:
    """A request of a tree; `place` is its own in a batch, 0 where it stands alone."""

    live: Live
    place: int
    request: Request

    def entry(self, answers: Answers) -> Entry:
        """What the journal keeps of its answers."""
        request = self.request
        kept = (self.live.index, KIND[type(request)], digest(request), encoded(request, answers))
        return (*kept, self.place) if self.place else kept


@dataclass(slots=True, eq=False)
class Live:
    """`request` is what it waits for; when there is none, `tree` is what the search came to."""

    index: int
    problem: Problem
    asking: Asking[Tree]
    request: Request | Batch | None = None
    tree: Tree | None = None
    proposals: int = 0  # answered
    served_s: float = 0.0  # in which something worked for it
    _given: dict[int, Answers] = field(default_factory=dict)  # of the request, by place
    _longest_s: float = 0.0  # that one of them took

    def begin(self) -> None:
        try:
            self.request = next(self.asking)
        except StopIteration as end:
            self.tree = end.value

    def waits_for(self) -> list[Asked]:
        """What of its request is not answered yet."""
        if isinstance(self.request, Batch):
            asks = enumerate(self.request.asks)
            return [Asked(self, place, ask) for place, ask in asks if place not in self._given]
        return [] if self.request is None else [Asked(self, 0, self.request)]

    @property
    def proposes(self) -> bool:
        """Whether its request is for proposals: there the tree is whole."""
        return self.request is not None and any(isinstance(ask, Propose) for ask in asks_of(self.request))

    def take(self, place: int, answers: Answers, took_s: float = 0.0) -> int:
        """Hand over what was asked for; the tokens that were generated for it. Goes on once nothing is waited for."""
        request = self.request
        assert request is not None
        batch = request if isinstance(request, Batch) else None
        tokens = 0
        if isinstance(request if batch is None else batch.asks[place], Propose):
            self.proposals += 1
            tokens = sum([completion.num_tokens for completion in cast(list[Completion], answers)])
        if batch is None:
            self._go_on(answers, took_s)
        else:
            self._given[place], self._longest_s = answers, max(self._longest_s, took_s)
            if len(self._given) == len(batch.asks):
                given, longest_s = self._given, self._longest_s
                self._given, self._longest_s = {}, 0.0
                self._go_on([given[number] for number in range(len(given))], longest_s)
        return tokens

    @property
    def answered(self) -> bool:
        """Whether its last request was answered in full: what it asks now waits as a whole."""
        return not self._given

    def _go_on(self, answers: Answers | list[Answers], took_s: float) -> None:
        self.served_s += took_s
        try:
            self.request = self.asking.send(answers)
        except StopIteration as end:
            self.request, self.tree = None, end.value

    def end(self, why: Ended) -> None:
        """Only at a proposal, where the tree is whole."""
        try:
            self.asking.throw(Stop(why))
        except StopIteration as end:
            self.request, self.tree = None, end.value

    def replay(self, recorded: Replay) -> int:
        """Go through what the journal has of it; the tokens that were generated.

        Raises `UserError` for a journal that holds anything but what this tree was answered.
        """
        tokens = 0
        while self.request is not None:
            if (entry := recorded.next()) is None:
                return tokens
            kind, asked, answers, place = entry
            if kind != ENDED:
                tokens += self.take(place, self._recorded(recorded, kind, asked, answers, place))
            elif answers == "seconds" and self.proposes and self.answered:
                self.end("seconds")
            else:
                raise recorded.damaged("expected answers")
        recorded.close()
        return tokens

    def _recorded(self, recorded: Replay, kind: str, asked: int, answers: object, place: int) -> Answers:
        """The answers of an entry, if they are to what is waited for."""
        request: Request | None = None
        if not isinstance(self.request, Batch):
            request = self.request if place == 0 else None
        elif 0 <= place < len(self.request.asks) and place not in self._given:
            request = self.request.asks[place]
        if request is None or KIND[type(request)] != kind or digest(request) != asked:
            raise recorded.damaged(f"expected the answers to another {kind}")
        try:
            return decoded(request, answers)
        except ValueError as error:
            raise recorded.damaged(f"expected answers to what was asked, found {error}") from error
