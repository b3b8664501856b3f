"""What the assets are given: the store, machines for models and programs, tracking, and where progress goes."""

import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.work import Report, Reporter
from orchestration.places import Places
from orchestration.tracking import tracking_of
from perseid import experiment as settings
from perseid.artifacts import Store
from perseid.engine import Engine, Scorer

if TYPE_CHECKING:
    from models.examples import Trained
    from perseid.sandbox import Sandbox


class LocalMachines:
    """Models in this process, programs in a sandbox of this machine."""

    def threads(self, engine: settings.Engine) -> None:
        import torch

        torch.set_num_threads(engine.threads)

    def engine(self, folder: Path, engine: settings.Engine) -> AbstractContextManager[Engine]:
        from models.engines import opened

        return opened(folder, engine)

    def scorer(self, folder: Path, engine: settings.Engine) -> Scorer:
        from models.scorer import PpmScorer

        return PpmScorer(folder, engine)

    def trainer(self) -> "LocalTrainer":
        return LocalTrainer()

    def sandbox(self, prelude: str) -> "AbstractContextManager[Sandbox]":
        from perseid.sandbox import Sandbox

        return Sandbox(workers=max(1, min(8, os.cpu_count() or 1)), prelude=prelude)


class LocalTrainer:
    """Trainings in this process."""

    def bootstrap(self, *arguments: Any) -> None:
        from models.bases.tiny_llama import bootstrap

        bootstrap(*arguments)

    def point(self, *arguments: Any) -> object:
        from models.bases.pretrained import point

        return point(*arguments)

    def policy(self, *arguments: Any) -> "Trained":
        from models.sft import train_policy

        return train_policy(*arguments)

    def ppm(self, *arguments: Any) -> "Trained":
        from models.ppm import train_ppm

        return train_ppm(*arguments)


class LoggedProgress:
    """Progress of a run that the UI started, in the run's own log: a line at most every `every_s` seconds."""

    def __init__(self, every_s: float = 10.0) -> None:
        self.every_s = every_s
        self.asset, self.began, self.told = "", 0.0, 0.0

    def __call__(self, report: Report) -> None:
        now = time.monotonic()
        if report.asset != self.asset:
            self.asset, self.began, self.told = report.asset, now, now
        if report.done == report.total or now - self.told >= self.every_s:
            self.told = now
            dg.get_dagster_logger("perseid").info(line_of(report, now - self.began))


def line_of(report: Report, elapsed_s: float) -> str:
    parts = [f"{report.done}/{report.total} {report.unit}"]
    if report.solved is not None and report.done:
        parts.append(f"{100 * report.solved / report.done:.0f} % solved")
    if report.tokens and elapsed_s > 0:
        parts.append(f"{report.tokens / elapsed_s:,.0f} tokens/s")
    return f"{report.asset}: {' · '.join(parts)}"


def resources(places: Places, reporter: Reporter | None = None) -> dict[str, Any]:
    """By the names under which the assets ask for them."""
    return {
        "store": Store(places.root),
        "machines": LocalMachines(),
        "tracking": tracking_of(places),
        "reporter": reporter or LoggedProgress(),
    }
