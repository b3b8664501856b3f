"""Engines behind `perseid.engine`: who continues text, who scores it.

`opened(folder, settings)` is the one place that chooses among them; each is imported only when it is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perseid import experiment
from perseid.engine import Engine


@contextmanager
def opened(folder: Path, settings: experiment.Engine) -> Iterator[Engine]:
    """The engine that `settings` names over the checkpoint in `folder`; what it started ends with the block."""
    if isinstance(settings, experiment.Vllm):
        from models.engines.vllm import VllmEngine

        with VllmEngine(folder, settings) as vllm:
            yield vllm
    elif isinstance(settings, experiment.Server):
        from models.engines.server import ServerEngine

        with ServerEngine(folder, settings) as server:
            yield server
    else:
        from models.engines.transformers import TransformersEngine

        yield TransformersEngine(folder, settings)
