"""The stages of an experiment, round by round, as data: what each does, which artifacts and settings it reads.

A change here is a change of every experiment's graph. A maker sees nothing of the experiment but what its stage reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from perseid.experiment import Experiment
from perseid.section import deciding

Ref = tuple[int | None, str]
PROBLEMS: Final[Ref] = (None, "problems")
BASE: Final[Ref] = (0, "policy")
# The policy and its control train alike; how often a verified example stands in an epoch matters to the one alone.
# Whose verified examples train (`history`) decides which inputs there are, and stands there.
TRAINING: Final = ("training.policy", "-training.policy.history", "engine.threads", "seed")
CONTROL: Final = ("control", *TRAINING, "-training.policy.verified_weight")
ANSWERING: Final = ("method", "sampling", "format", "kernel", "grader", "sandbox", "toolbox")


@dataclass(frozen=True)
class Stage:
    """`name` is the last part of the artifact's key, `does` the maker: a module of `assets`.

    inputs: stages by round, None for those before all rounds.
    reads: dotted paths into `experiment.at(round)`; "-" stands before a field of such a section that is left alone.
    uses: names in `assets.keys`, of what is read beside settings and inputs.
    """

    name: str
    does: str
    inputs: tuple[Ref, ...]
    reads: tuple[str, ...]
    uses: tuple[str, ...] = ()
    sharded: bool = False


def stages_of(e: Experiment) -> Iterator[tuple[int | None, Stage]]:
    """Every stage with its round, inputs before what reads them."""
    drawn = ("problems", "-problems.pool", "seed")
    yield None, Stage("problems", "problems", (), drawn, ("families", "toolbox", "format"))
    for r in range(len(e.rounds) + 1):
        yield from ((r, stage) for stage in (_first() if r == 0 else _round(e, r)))


def _first() -> Iterator[Stage]:
    """Round 0: the base, and what it can do. Nothing is verified yet, so no program is run on fresh instances."""
    made = ("models.policy", "training.bootstrap", "engine.threads", "seed")
    yield Stage("policy", "bootstrap", (PROBLEMS,), made, ("format",))
    asked = ("evaluation", "-evaluation.fresh_instances", "engine", "seed")
    yield Stage("evaluation", "evaluation", (PROBLEMS, BASE), asked, ANSWERING)


def _round(e: Experiment, r: int) -> Iterator[Stage]:
    now = e.at(r)
    pool, trees, before = (r, "pool"), (r, "trajectories"), tuple((n, "pool") for n in range(1, r))
    guide = [(r - 1, "ppm")] if now.search.ppm and r > 1 else []
    # Of a pool the sizes of the other splits decide nothing but what is taken: that stands in its inputs.
    named = tuple(f"problems.{name}" for name in ("source", "demonstrated", "undemonstrated"))
    composed = ("problems.demonstrated_compositions", "problems.undemonstrated_compositions")
    yield Stage("pool", "pool", (PROBLEMS, *before), (*named, *composed, "problems.pool", "seed"), ("families",))
    search = ("search", "engine", "shards", "seed")
    searching = ("method", "format", "kernel", "grader", "sandbox", "toolbox")
    yield Stage("trajectories", "trajectories", (pool, (r - 1, "policy"), *guide), search, searching, sharded=True)
    rerun = ("format", "grader", "sandbox", "toolbox")
    yield Stage("verified", "verified", (pool, trees), ("selection.top",), rerun)
    yield Stage("pairs", "pairs", (pool, trees), ("selection.pairs",), ("format",))
    known = _history(r, "verified", now.training.policy.history)
    yield Stage("policy", "policy", (PROBLEMS, BASE, *known), TRAINING, ("format",))
    control = control_round(e, r)
    if control == r:
        yield Stage("control", "control", (PROBLEMS, BASE), CONTROL, ("format",))
    pairs = _history(r, "pairs", now.training.ppm.history)
    taught = ("training.ppm", "-training.ppm.history", "engine.threads", "engine.batch", "seed")
    yield Stage("ppm", "ppm", ((r, "policy"), *pairs), taught, ("format",))
    arm = [(control, "control")] if control else []
    judged = ((r, "policy"), *arm, (r, "ppm"), (r, "verified"), *((n, "evaluation") for n in range(r)))
    asked = ("evaluation", "engine", "seed")
    yield Stage("evaluation", "evaluation", (PROBLEMS, *before, pool, *judged), asked, (*ANSWERING, "families"))


def control_round(e: Experiment, r: int) -> int | None:
    """The round whose control is that of round `r`: rounds that train alike share one, for it reads nothing else."""
    if e.control is None:
        return None
    alike = deciding(e.at(r), CONTROL)
    return next(n for n in range(1, r + 1) if deciding(e.at(n), CONTROL) == alike)


def _history(r: int, stage: str, history: str) -> list[Ref]:
    return [(n, stage) for n in range(1 if history == "all_rounds" else r, r + 1)]
