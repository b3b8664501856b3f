"""Gold is unreachable from proposer, selector and answer picker: by type, and by what reaches them in a search."""

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import perseid.methods
import perseid.search
from perseid.formats import TOOLS, Draft
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.problems.problem import Problem
from perseid.search import Stats, run_searches
from perseid.search.method import Leaf, Rated, Standing, View
from perseid.search.requests import Execute, Grade, Propose, Score
from perseid.search.rows import tables

SETTINGS = Settings(candidates=4, rollouts=6, max_depth=4, ppm=True)


def names(record: type) -> set[str]:
    return set(record.__annotations__)


def test_no_record_that_a_method_or_a_service_sees_has_a_place_for_gold_or_a_verdict() -> None:
    assert names(Stats) == {"visits", "value_sum", "prior", "status"}
    assert names(Rated) == {"answer", "q"}
    assert names(Standing) == {"problem_id", "rollouts", "tokens", "samples", "exhausted", "solved", "lead"}
    read = {"text", "program", "answer", "ends", "tokens", "parsed", "steps", "cut"}
    assert names(Draft) == {"prior", "action", *read}
    assert names(View) == {"question", "drafts", "steps", "standing", "seeds"}
    assert names(Leaf) == {"draft", "stats", "reward"}
    assert names(Propose) == {"prompt", "seeds", "sampling", "rollout", "role"}
    assert names(Execute) == {"parent", "prefix", "codes", "keep"}
    assert names(Score) == {"prefixes", "role"}
    assert names(Grade) == {"answers"}
    assert "answer" not in names(Problem)


@pytest.mark.parametrize("package", [perseid.search, perseid.methods])
def test_neither_search_nor_a_method_imports_what_holds_gold(package: Any) -> None:
    for path in sorted(Path(package.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported += [alias.name for alias in node.names]
            assert not any(name == "Gold" or name.startswith("perseid.graders") for name in imported), path


@dataclass
class Seen:
    """Everything that reaches the services, and the method's selector and picker, as text."""

    texts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Watched(RStarMath):
    seen: Seen = field(default_factory=Seen)

    def next(self, parent: Stats, children: Sequence[Stats], grown: bool, draw: Callable[[int], int]) -> int | None:
        self.seen.texts += [repr(parent), *map(repr, children)]
        return super().next(parent, children, grown, draw)


@dataclass(frozen=True)
class Oracle:
    """A grader that holds a word which stands nowhere else, beside the answers that are right."""

    word: str
    right: dict[str, str]
    version: str = "oracle"

    async def grade(self, problem_id: str, answers: Sequence[str]) -> list[bool | None]:
        return [answer == self.right[problem_id] for answer in answers]


@dataclass
class Listening:
    """Passes calls on to a real service and keeps what was asked."""

    service: Any
    seen: Seen

    @property
    def weights(self) -> str:
        return str(self.service.weights)

    @property
    def version(self) -> str:
        return str(self.service.version)

    @property
    def concurrency(self) -> int:
        return int(self.service.concurrency)

    async def generate(self, requests: Any) -> Any:
        self.seen.texts += map(repr, requests)
        return await self.service.generate(requests)

    async def score(self, prefixes: Any) -> Any:
        self.seen.texts += [prefix.text for prefix in prefixes]
        return await self.service.score(prefixes)

    async def extend_many(self, pairs: Any) -> Any:
        self.seen.texts += map(repr, pairs)
        return await self.service.extend_many(pairs)


def test_nothing_that_services_or_selection_get_depends_on_what_the_gold_is(toy: Any) -> None:
    found = []
    for word in ("chrysoprase", "sardonyx"):
        seen = Seen()
        services = toy.services(
            6,
            engine=Listening(toy.engine, seen),
            scorer=Listening(toy.scorer, seen),
            sandbox=Listening(toy.interpreter(), seen),
            grader=Oracle(word, {gold.problem_id: str(gold.answer) for gold in toy.gold(6)}),
        )
        trees = run_searches(toy.problems(6), Watched(SETTINGS, TOOLS, seen=seen), 1, services)
        assert not any(word in text for text in seen.texts)
        found.append((seen.texts, {name: frame.rows() for name, frame in tables(trees).items()}))
    assert found[0] == found[1]


def test_verdicts_reach_the_selector_through_rewards_alone(toy: Any) -> None:
    """With every reward 0, and no rollout for being unsolved, trees are the same whatever the grader says."""

    @dataclass(frozen=True)
    class Unrewarded(RStarMath):
        def reward(self, correct: bool | None, prior: float | None) -> float:
            return 0.0

        def goes_on(self, now: Standing) -> bool:
            return now.rollouts < self.settings.rollouts and not now.exhausted

    kinds = []
    right = {gold.problem_id: str(gold.answer) for gold in toy.gold(6)}
    for gold in (right, dict.fromkeys(right, "nothing")):
        services = toy.services(6, grader=Oracle("", gold))
        found = tables(run_searches(toy.problems(6), Unrewarded(SETTINGS, TOOLS), 1, services))
        kinds.append((found["nodes"].drop("correct").rows(), found["texts"].rows(), found["nodes"]["correct"].sum()))
    assert kinds[0][:2] == kinds[1][:2]
    assert kinds[0][2] > 0 == kinds[1][2]
