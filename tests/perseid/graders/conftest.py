from collections.abc import Callable
from typing import Any

import pytest

from perseid.graders import Asked
from perseid.problems import Gold, Problem


@pytest.fixture
def asked() -> Callable[..., list[Asked]]:
    """Answers to one problem, beside its gold."""

    def of(gold: Any, *answers: str, question: str = "?", kind: str = "mine", name: str = "p") -> list[Asked]:
        problem = Problem(name, "mine", kind, question)
        return [Asked(problem, Gold(name, gold), answer) for answer in answers]

    return of
