"""One YAML file is one experiment: read into frozen models; every error names the file, the key and what was expected.

Fields carry their unit, range and reason. `rounds` is a list of overrides, one a round, merged into the experiment's
own `pool`, `search`, `selection` and `training` (rStar-Math's four rounds differ: spec, section 1.5).
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from perseid.engines import KINDS, Engine, Server, Transformers, Vllm
from perseid.errors import UserError
from perseid.section import DISCRIMINATOR, OPERATIONAL, Section

__all__ = ["Base", "Control", "Engine", "Evaluation", "Experiment", "Gate", "Pairs", "PolicyTraining", "Pool"]
__all__ += ["PpmTraining", "Problems", "Round", "Search", "Selection", "Server", "Training", "Transformers", "Vllm"]
__all__ += ["load_experiment"]

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

S = TypeVar("S", bound=Section)


class Pool(Section):
    """The questions that a round searches, fresh in every round; a round may ask more of the harder kinds."""

    demonstrated: Count = 6  # questions a demonstrated family
    undemonstrated: Count = 20
    composed: Count = 6  # questions a (family, composition) pair


class Problems(Section):
    """Seed problems. Sizes are questions a family (or a family and composition)."""

    source: Annotated[Literal["reasoning_gym"], DISCRIMINATOR] = "reasoning_gym"
    demonstrated: tuple[str, ...]  # families the teacher demonstrates
    undemonstrated: tuple[str, ...]  # families whose solving programs must be discovered
    demonstrated_compositions: tuple[str, ...] = ()
    undemonstrated_compositions: tuple[str, ...] = ()
    demonstrations: Count = 60
    demonstrations_composed: Count = 20
    drills: Count = 150  # questions that name the functions to call, in all
    explorations: Count = 40  # questions a family, answered by a random program that merely runs
    explorations_composed: Count = 10
    pool: Pool = Pool()
    held_out: Positive = 10
    held_out_wordings: Count = 3  # in a wording that no other split uses
    held_out_composed: Count = 3
    held_out_compositions: Count = 5  # of (family, composition) pairs that no other split asks


class Base(Section):
    """The Llama-architecture policy bootstrapped in round 0."""

    hidden_size: Positive = 128
    layers: Positive = 2
    heads: Positive = 4
    vocab_size: Positive = 800
    context: Positive = 256  # tokens


class Search(Section):
    """MCTS over executed steps (rStar-Math; spec, sections 1.2 and 8)."""

    candidates: Positive = 6  # samples an expansion
    rollouts: Positive = 16
    rollouts_unsolved: Count = 0  # further rollouts for a problem still unsolved after them
    exploration: float = Field(2.0, ge=0.0)  # c of UCT
    unvisited: Literal["zero", "inf"] = "inf"  # UCT's term of an unvisited child: "zero" is the parity preset
    tie: Literal["first", "random"] = "random"
    max_depth: Positive = 16  # steps
    max_step_tokens: Positive = 16
    temperature: float = Field(1.0, gt=0.0)
    top_p: float = Field(1.0, gt=0.0, le=1.0)
    errors_threshold: Positive = 1  # consecutive failed steps that close a node
    ppm: bool = False  # interior nodes start from the PPM's score (paper: from round 3)
    limit_tokens: Count = 0  # generated for one problem; 0: none
    limit_nodes: Count = 0  # of one tree; 0: none
    limit_s: float = Field(0.0, ge=0.0)  # in which something worked for one problem, waiting apart; 0: none


class Pairs(Section):
    """Step preference pairs (rStar-Math; spec, section 1.3)."""

    positives: Positive = 2
    negatives: Positive = 2
    margin: float = Field(0.5, ge=0.0, le=2.0)  # least Q(chosen) - Q(rejected)
    min_edit: Count = 20  # least Levenshtein distance of the two steps, characters
    final: bool = True  # the final-answer rule: whole trajectories compared
    held_out: Share = 0.25  # share of problems whose pairs only measure the PPM


class Selection(Section):
    top: Positive = 2  # trajectories a problem, by mean Q then min Q
    pairs: Pairs = Pairs()


class PolicyTraining(Section):
    """SFT. Steps, never seconds: a control at equal steps must be exact."""

    steps: Positive = 150
    batch: Positive = 64  # sequences a step, grouped by length
    learning_rate: float = Field(2e-3, gt=0.0)
    verified_weight: Positive = 3  # how often a verified trajectory stands in an epoch, against 1 for a demonstration
    history: Literal["this_round", "all_rounds"] = "all_rounds"  # whose verified trajectories train the policy


class PpmTraining(Section):
    """Pairwise Bradley-Terry on raw logits, served as tanh(logit / scale)."""

    epochs: Positive = 1
    batch: Positive = 32  # pairs
    learning_rate: float = Field(1e-3, gt=0.0)
    scale: float = Field(5.0, gt=0.0)
    history: Literal["this_round", "all_rounds"] = "all_rounds"


class Training(Section):
    bootstrap: PolicyTraining = PolicyTraining(steps=250, learning_rate=3e-3)
    policy: PolicyTraining = PolicyTraining()
    ppm: PpmTraining = PpmTraining()


class Evaluation(Section):
    samples: Positive = 8  # k of pass@k, maj@k and PPM best-of-k
    temperature: float = Field(1.0, gt=0.0)
    max_tokens: Positive = 96
    mcts_problems: Count = 60  # held-out problems that the small MCTS is run on (0: none)
    mcts_rollouts: Positive = 4
    mcts_candidates: Positive = 4
    fresh_instances: Positive = 5  # new questions of its family that each verified program is re-run on
    bootstrap_samples: Positive = 2000
    confidence: float = Field(0.95, gt=0.0, lt=1.0)


class Control(Section):
    """The arm without search: the same optimiser steps on the demonstrations alone."""

    kind: Annotated[Literal["demonstrations_only"], DISCRIMINATOR] = "demonstrations_only"


class Gate(Section):
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
    metric: Literal["greedy_pass@1"] = "greedy_pass@1"


class Round(Section):
    """What a round changes: partial sections, merged over the experiment's own."""

    pool: dict[str, Any] = {}
    search: dict[str, Any] = {}
    selection: dict[str, Any] = {}
    training: dict[str, Any] = {}


class Experiment(Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    description: Annotated[str, OPERATIONAL] = ""
    seed: Count = 0
    method: str = "rstar_math"
    problems: Problems
    base: Base = Base()
    engine: Engine = Transformers()
    search: Search = Search()
    selection: Selection = Selection()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    control: Control | None = None
    shards: Annotated[int, Field(ge=1, le=1000)] = 1
    rounds: Annotated[tuple[Round, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def rounds_are_valid(self) -> "Experiment":
        for number, (name, of) in itertools.product(range(1, len(self.rounds) + 1), self._parts().items()):
            try:
                of(number)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, (f"rounds.{number - 1}.{name}", *first["loc"])))
                raise ValueError(f"{key}: {_expected(first)}") from error
        return self

    def _parts(self) -> dict[str, Callable[[int], Section]]:
        """What a round may change, by its key in the file."""
        return {
            "pool": self.pool_of,
            "search": self.search_of,
            "selection": self.selection_of,
            "training": self.training_of,
        }

    def at(self, round: int) -> "Experiment":
        """The sections as `round`, counted from 1, sees them: its overrides laid over; 0 is the experiment's own."""
        if round == 0:
            return self
        problems = self.problems.model_copy(update={"pool": self.pool_of(round)})
        changed = {name: of(round) for name, of in self._parts().items() if name != "pool"}
        return self.model_copy(update={"problems": problems, **changed})

    def pool_of(self, round_number: int) -> Pool:
        return merged(self.problems.pool, self.rounds[round_number - 1].pool)

    def search_of(self, round_number: int) -> Search:
        """The settings of a round, counted from 1."""
        return merged(self.search, self.rounds[round_number - 1].search)

    def selection_of(self, round_number: int) -> Selection:
        return merged(self.selection, self.rounds[round_number - 1].selection)

    def training_of(self, round_number: int) -> Training:
        return merged(self.training, self.rounds[round_number - 1].training)


def merged(section: S, overrides: dict[str, Any]) -> S:
    """`section` with `overrides` laid over it, mappings merged key by key, validated anew."""
    return type(section).model_validate(_overlay(section.model_dump(), overrides))


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {k: _overlay(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}


def load_experiment(path: Path | str, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read an experiment file; `overrides` (from the command line) are laid over it before validation.

    Raises `UserError` naming the file, the key and what was expected.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(path, "", f"cannot be read ({error.strerror}); expected an experiment file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(path, "", f"expected YAML: {error}") from error
    if not isinstance(raw, dict):
        raise UserError(path, "", f"expected a mapping of keys, found {type(raw).__name__}")
    try:
        return Experiment.model_validate(_overlay(raw, overrides or {}))
    except ValidationError as error:
        first = error.errors()[0]
        loc = [
            part
            for i, part in enumerate(first["loc"])
            if not (i == 1 and first["loc"][0] == "engine" and part in KINDS)
        ]
        raise UserError(path, ".".join(map(str, loc)), _expected(first)) from error


def _expected(error: Any) -> str:
    """What pydantic expected and found, in one line; a validator of ours has said it all."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"{error['msg']}, found {str(error['input'])[:80]!r}"
