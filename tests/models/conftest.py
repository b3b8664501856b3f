"""A real policy, made and trained once for the tests: the quickstart's architecture in small."""

from pathlib import Path

import pytest

from models.attempt import Attempt
from models.bases.tiny_llama import bootstrap
from models.examples import Example
from models.sft import train_policy
from perseid.checkpoints import TinyLlama
from perseid.experiment import PolicyTraining
from perseid.formats import TOOLS
from perseid.formats.tools import MARKS
from perseid.problems.sources.tools import Settings
from perseid.problems.sources.tools.drawing import Tools

ATTEMPT = Attempt(0, "x/round_01/policy", "training.policy")
SETTINGS = PolicyTraining(steps=80, batch=16, learning_rate=5e-3)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    settings = Settings(demonstrated=("gcd", "products"), undemonstrated=(), demonstrations=30, drills=0)
    shown = Tools(settings, seed=1).brought().demonstrations
    return [Example(TOOLS.prompt(d.question), TOOLS.split(TOOLS.write(d.steps))) for d in shown]


@pytest.fixture(scope="session")
def untrained(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained")
    bootstrap(examples, TinyLlama(hidden_size=32, heads=2, vocab_size=400, context=128), MARKS, folder, ATTEMPT)
    return folder


@pytest.fixture(scope="session")
def policy(examples: list[Example], untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    train_policy(examples, untrained, SETTINGS, None, folder, ATTEMPT)
    return folder
