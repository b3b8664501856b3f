"""The rule-based teacher of round 0: it plays the stronger model that bootstraps rStar-Math's first round.

It writes three kinds of text. *Demonstrations* solve questions of the demonstrated families. *Drills* name the tools to
call, so that the policy knows the library. *Explorations* answer questions of the other families with a random program
that merely runs: the broad ignorance of a pretrained model made explicit, so that search has something to explore.
No answer is looked at for them; by chance a few are right, and the demo-only control trains on the very same ones.
"""

import random
from collections.abc import Sequence
from typing import Any, Literal

from perseid.problems.sources.tools import toolbox

READERS = ("numbers", "decimals", "expression", "word", "words", "quotes", "equation", "animals", "times", "date")
FUNCTIONS = (
    "prod gcd lcm total largest smallest lowest primes factors binary ones digits double square value root "
    "legs occurrences backward ascending descending length commas crosses span clock weekday remaining"
).split()
Kind = Literal["demonstration", "drill", "exploration"]


def program(tools: Sequence[str]) -> tuple[str, ...]:
    """The steps of a program that calls `tools` in order and prints the last result."""
    names = "abcdefgh"
    steps = [f"# read the {tools[0]}\na = {tools[0]}(q)"]
    steps += [f"# take {tool}\n{names[i + 1]} = {tool}({names[i]})" for i, tool in enumerate(tools[1:])]
    return (*steps, f"# answer\nprint({names[len(tools) - 1]})")


def run(question: str, tools: Sequence[str]) -> Any:
    """What `tools` make of a question, called directly: this is our library, not generated code.

    Raises `TypeError`, `ValueError`, `ArithmeticError` or `LookupError` where a tool refuses.
    """
    result: Any = question
    for tool in tools:
        result = getattr(toolbox, tool)(result)
    return result


def random_program(question: str, rng: random.Random, calls: int) -> tuple[str, ...]:
    """A random reader and `calls` random functions, each drawn among those that run on what came before."""
    tools: tuple[str, ...] = (rng.choice([reader for reader in READERS if runs(question, (reader,))]),)
    for _ in range(calls):
        options = [function for function in FUNCTIONS if runs(question, (*tools, function))]
        if not options:
            break
        tools = (*tools, rng.choice(options))
    return tools


def runs(question: str, tools: Sequence[str]) -> bool:
    """Whether every tool accepts what it is given."""
    try:
        run(question, tools)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return False
    return True
