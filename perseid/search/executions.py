"""Runs a tree's steps from where its nodes' interpreters stand, and the same program once.

Identical (prefix, program) requests, of any trees and at any time, share one execution; only the outcome is
remembered, so a node that needs the interpreter's state after a shared one gets it made again when it is expanded.

A step that ran may fail when it is run again, because it looks at the clock or at what else does not repeat. That is
the program's fault, not the sandbox's: every step after it is an error. One that merely prints something else is not
noticed here; a program that does not repeat is never verified.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from perseid.sandbox import SandboxFailure, State
from perseid.search.requests import Execute, Outcome
from perseid.search.services import Runner
from perseid.search.states import States

REMEMBERED: Final = 65_536  # outcomes
Program = tuple[tuple[str, ...], str]  # prefix and code
Place = tuple[asyncio.Future[list[Outcome]], int]  # what is run together, and which of it


class Executions:
    """`answer` a tree's request; `drop` the tree when it ends. Raises `SandboxFailure` when the sandbox fails."""

    def __init__(self, sandbox: Runner, states: States) -> None:
        self._sandbox, self._states = sandbox, states
        self._known: OrderedDict[Program, Place] = OrderedDict()
        self.run, self.reused = 0, 0

    async def answer(self, tree: int, request: Execute) -> list[Outcome]:
        running: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        places: list[Place] = []
        fresh: list[tuple[str, str]] = []
        for code, keep in zip(request.codes, request.keep, strict=True):
            place = self._known.get((request.prefix, code))
            if place is None:
                place = self._known[request.prefix, code] = (running, len(fresh))
                fresh.append((code, keep))
            places.append(place)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        self.run += len(fresh)
        self.reused += len(places) - len(fresh)
        if fresh:
            await self._run(tree, request, fresh, running)
        return [(run.result() if run.done() else await run)[number] for run, number in places]

    def drop(self, tree: int) -> None:
        self._states.drop(tree)

    async def _run(
        self, tree: int, request: Execute, fresh: Sequence[tuple[str, str]], running: asyncio.Future[list[Outcome]]
    ) -> None:
        try:
            results = await self._results(tree, request, [code for code, _ in fresh])
        except BaseException:
            for code, _ in fresh:
                self._known.pop((request.prefix, code), None)
            running.cancel()
            raise
        running.set_result([outcome for outcome, _ in results])
        for (_, keep), (outcome, after) in zip(fresh, results, strict=True):
            if keep and outcome.status == "ok":
                self._states.put(tree, keep, after)

    async def _results(self, tree: int, request: Execute, codes: Sequence[str]) -> list[tuple[Outcome, State]]:
        state = self._states.take(tree, request.parent)
        if state is None:
            [(again, state)] = await self._rebuilt(request.prefix)
            if again.status != "ok":
                if len(request.prefix) == 1:  # what runs before every first step is ours
                    raise SandboxFailure(f"the setup does not run: {again.status}: {again.error}")
                error = f"the steps before it do not repeat: {again.status}: {again.error}"
                return [(Outcome("error", "", error, again.tier), state) for _ in codes]
        return await self._extend([(state, code) for code in codes])

    async def _rebuilt(self, prefix: Sequence[str]) -> list[tuple[Outcome, State]]:
        """The parent's state where none is held: the root's, one forgotten, all of them after a replay."""
        return await self._extend([(State.of(*prefix[:-1]), prefix[-1])])

    async def _extend(self, pairs: Sequence[tuple[State, str]]) -> list[tuple[Outcome, State]]:
        results = []
        for execution, state in await self._sandbox.extend_many(pairs):
            if execution.status == "sandbox_error":
                raise SandboxFailure(f"the sandbox failed: {execution.error}")
            results.append((Outcome(execution.status, execution.stdout, execution.error or "", execution.tier), state))
        return results
