"""The section `training`: how policy and PPM are trained. What a paper trained with is data in an experiment file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from perseid.mistakes import mistake
from perseid.section import Section

Steps = Annotated[int, Field(ge=1, le=10_000_000)]
Parts = Annotated[int, Field(ge=1, le=65_536)]
Decay = Annotated[float, Field(ge=0.0, le=10.0)]
WarmUp = Annotated[float, Field(ge=0.0, le=10_000_000.0)]
History = Literal["this_round", "all_rounds"]
Schedule = Literal["cosine", "linear", "constant"]  # of the learning rate after the warm-up
Precision = Literal["float32", "bfloat16"]


class Optimised(Section):
    """What every training has. A step's batch may be computed in parts, which bounds memory."""

    batch: int = Field(64, ge=1, le=65_536)  # sequences (or pairs) a step
    learning_rate: float = Field(2e-3, gt=0.0)
    accumulation: Parts = 1  # parts of a batch, computed one after the other
    precision: Precision = "float32"  # bfloat16: computed in it where that is safe; weights stay as they are held
    checkpointing: bool = False  # compute activations twice instead of keeping them
    max_tokens: int = Field(0, ge=0, le=10_000_000)  # of an example; longer ones are left out; 0: the context
    schedule: Schedule = "cosine"
    weight_decay: Decay = 0.0
    warm_up: WarmUp = 0.0  # steps in which the rate rises, below 1 their share; at most a quarter of all

    @model_validator(mode="after")
    def _parts_are_whole(self) -> "Optimised":
        if self.batch % self.accumulation:
            expected = f"a divisor of batch, {self.batch}, found {self.accumulation}"
            raise mistake("accumulation", f"expected {expected}")
        return self


class SupervisedTraining(Optimised):
    """SFT. Steps or epochs, never seconds: a control at equal steps must be exact."""

    steps: Steps = 150
    epochs: int = Field(0, ge=0, le=1024)  # over all examples; above 0 they say how many steps there are
    weight_decay: Decay = 0.1
    warm_up: WarmUp = 0.05


class PolicyTraining(SupervisedTraining):
    """SFT on demonstrations and on what search verified."""

    verified_weight: int = Field(3, ge=1, le=1024)  # how often a verified trajectory stands in an epoch, against 1
    history: History = "all_rounds"  # whose verified trajectories train the policy


class PpmTraining(Optimised):
    """Pairwise Bradley-Terry on raw logits, served as tanh(logit / scale)."""

    epochs: int = Field(1, ge=1, le=1024)
    batch: int = Field(32, ge=1, le=65_536)  # pairs
    learning_rate: float = Field(1e-3, gt=0.0)
    scale: float = Field(5.0, ge=0.001, le=1_000_000.0)
    warm_up: WarmUp = 2.0
    history: History = "all_rounds"


class Training(Section):
    bootstrap: SupervisedTraining = SupervisedTraining(steps=250, learning_rate=3e-3)
    policy: PolicyTraining = PolicyTraining()
    ppm: PpmTraining = PpmTraining()
