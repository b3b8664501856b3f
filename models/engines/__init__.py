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
    if settings.kind == "vllm":
        from models.engines.vllm import VllmEngine

        with VllmEngine(folder, settings) as vllm:
            yield vllm
    elif settings.kind == "server":
        from models.engines.server import ServerEngine

        with ServerEngine(folder, settings) as server:
            yield server
    else:
        from models.engines.transformers import TransformersEngine

        yield TransformersEngine(folder, settings)
