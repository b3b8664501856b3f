"""The section `training`: how policy and PPM are trained. What a paper trained with is data in an experiment file."""

from typing import Literal

from pydantic import Field

from perseid.section import Section


class SupervisedTraining(Section):
    """SFT. Steps, never seconds: a control at equal steps must be exact."""

    steps: int = Field(150, ge=1, le=10_000_000)
    batch: int = Field(64, ge=1, le=65_536)  # sequences a step, grouped by length
    learning_rate: float = Field(2e-3, gt=0.0)


class PolicyTraining(SupervisedTraining):
    """SFT on demonstrations and on what search verified."""

    verified_weight: int = Field(3, ge=1, le=1024)  # how often a verified trajectory stands in an epoch, against 1
    history: Literal["this_round", "all_rounds"] = "all_rounds"  # whose verified trajectories train the policy


class PpmTraining(Section):
    """Pairwise Bradley-Terry on raw logits, served as tanh(logit / scale)."""

    epochs: int = Field(1, ge=1, le=1024)
    batch: int = Field(32, ge=1, le=65_536)  # pairs
    learning_rate: float = Field(1e-3, gt=0.0)
    scale: float = Field(5.0, ge=0.001, le=1_000_000.0)
    history: Literal["this_round", "all_rounds"] = "all_rounds"


class Training(Section):
    bootstrap: SupervisedTraining = SupervisedTraining(steps=250, learning_rate=3e-3)
    policy: PolicyTraining = PolicyTraining()
    ppm: PpmTraining = PpmTraining()
