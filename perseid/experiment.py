"""One YAML file is one experiment: read into frozen sections; each error names the file, the key and what was expected.

Fields carry their unit, range and reason. `rounds` is a list of overrides, one a round, merged into the experiment's
own sections (rStar-Math's four rounds differ; arXiv 2501.04519, section 3.4).
"""

import logging
import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_type_hints

from pydantic import AfterValidator, Field, PrivateAttr, Strict, ValidationError, model_validator

from perseid.checkpoints import Models, Pretrained
from perseid.consistency import contradiction, without_effect
from perseid.document import read
from perseid.engines import Engine, Server, Transformers, Vllm, checked_key
from perseid.errors import UserError
from perseid.evaluation.settings import Evaluation, Gate
from perseid.formats import unreadable
from perseid.graders.kinds import Owns
from perseid.methods import DEFAULT, FILES, MethodSettings
from perseid.mistakes import described, mistake
from perseid.naming import named
from perseid.problems.settings import Problems
from perseid.recipes import known, method_named_by
from perseid.recipes.control import Control
from perseid.rounds import Round, merged, overlay
from perseid.section import OPERATIONAL, Section
from perseid.selection.settings import Pairs, Selection
from perseid.training import PolicyTraining, PpmTraining, SupervisedTraining, Training

__all__ = ["Control", "Engine", "Evaluation", "Experiment", "Gate", "Models", "Pairs", "PolicyTraining"]
__all__ += ["PpmTraining", "Problems", "Round", "Selection", "Server", "SupervisedTraining", "Training"]
__all__ += ["Transformers", "Vllm"]
__all__ += ["load_experiment"]

MAX_ROUNDS: Final = 99  # their names sort: round_01 to round_99


class Experiment(Section):
    name: Annotated[str, AfterValidator(named)]
    description: Annotated[str, Field(max_length=10_000), OPERATIONAL] = ""
    seed: int = Field(0, ge=0, le=2**63 - 1)
    recipe: Annotated[str, AfterValidator(known)] = "rstar_math"
    method: MethodSettings = FILES[DEFAULT].Settings()
    problems: Problems
    models: Models = Models()
    engine: Engine = Transformers()
    selection: Selection = Selection()
    training: Training = Training()
    graders: Owns = {}
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    control: Control | None = None
    shards: int = Field(1, ge=1, le=1000)
    rounds: Annotated[tuple[Round, ...], Strict(False), Field(min_length=1, max_length=MAX_ROUNDS)]
    _file: Path | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path | None:
        """The file that it was read from, None if it was made otherwise."""
        return self._file

    @property
    def root(self) -> Path:
        """What paths in the file start from: the folder in which `experiments/` lies, else the working directory."""
        above = self._file.absolute().parents if self._file else ()
        return next((folder.parent for folder in above if folder.name == "experiments"), Path.cwd())

    @model_validator(mode="before")
    @classmethod
    def _method_of_the_recipe(cls, value: Any) -> Any:
        """A recipe may bring the kind of method that it is usually run with."""
        own = method_named_by(value.get("recipe")) if isinstance(value, dict) else ""
        method = value.get("method", {}) if own else None
        return {**value, "method": {"kind": own, **method}} if isinstance(method, dict) else value

    @model_validator(mode="after")
    def _rounds_are_valid(self) -> "Experiment":
        for number in range(1, len(self.rounds) + 1):
            for name, (section, kind) in self._overridden().items():
                try:
                    merged(section, getattr(self.rounds[number - 1], name), kind)
                except ValidationError as error:
                    key, expected = described(error, get_args(kind)[0] if get_args(kind) else kind)
                    raise mistake(f"rounds.{number}.{name}.{key}", expected) from None
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> "Experiment":
        if found := contradiction(self):
            raise mistake(*found)
        return self

    def _overridden(self) -> dict[str, tuple[Section, Any]]:
        """The sections that a round may change, by their key in it, each with what it is validated as."""
        kinds = _kinds()
        own = {name: (getattr(self, name), kinds[name]) for name in Round.model_fields if name != "pool"}
        return {"pool": (self.problems.pool, type(self.problems.pool)), **own}

    def at(self, round: int) -> "Experiment":
        """The sections as `round`, counted from 1, sees them: its overrides laid over; 0 is the experiment's own."""
        if round == 0:
            return self
        overrides = self.rounds[round - 1]
        own = self._overridden().items()
        seen = {name: merged(section, getattr(overrides, name), kind) for name, (section, kind) in own}
        problems = self.problems.model_copy(update={"pool": seen.pop("pool")})
        return self.model_copy(update={"problems": problems, **seen})


@cache
def _kinds() -> dict[str, Any]:
    """The types of an experiment's fields, with all that is said of them."""
    return get_type_hints(Experiment, include_extras=True)


def load_experiment(path: Path | str, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read an experiment file; `overrides` (from the command line) are laid over it before validation.

    What is legal and has no effect is a line in the log. Raises `UserError` naming the file, the key and what was
    expected.
    """
    path = Path(path)
    try:
        experiment = Experiment.model_validate(overlay(read(path), overrides or {}))
    except ValidationError as error:
        raise UserError(path, *described(error, Experiment)) from error
    experiment._file = path
    if found := experiment.problems.unreadable(experiment.root):
        raise UserError(path, *found)
    policy = experiment.models.policy
    if isinstance(policy, Pretrained) and (found := policy.unreadable()):
        raise UserError(path, f"models.policy.{found[0]}", found[1])
    if found := unreadable(policy.format, experiment.root):
        raise UserError(path, f"models.policy.format.{found[0]}", found[1])
    for name, grader in experiment.graders.items():
        if found := grader.unreadable(experiment.root):
            raise UserError(path, f"graders.{name}.{found[0]}", found[1])
    if any(isinstance(experiment.at(number).engine, Server) for number in range(len(experiment.rounds) + 1)):
        checked_key(os.environ)
    for key, why in without_effect(experiment):
        logging.getLogger(__name__).warning("%s: %s: %s", path, key, why)
    return experiment
