"""Keys of what a result rests on beside settings and inputs: each comes from its owner, and changes when it changes.

A stage names those that it `uses`, and they are hashed into its code version.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from perseid.checkpoints import Pretrained
from perseid.experiment import Experiment
from perseid.formats import format_of
from perseid.graders import kinds
from perseid.methods import flat, rstar_math, version_of
from perseid.problems import making
from perseid.sandbox import sandbox
from perseid.search import kernel


def graders_key(experiment: Experiment) -> str:
    """16 hex digits of each grader that the experiment's problems need."""
    used = {kind: kinds.key_of(kind, experiment.graders) for kind in sorted(experiment.problems.kinds)}
    return hashlib.sha256(json.dumps(used).encode()).hexdigest()[:16]


def template_key(experiment: Experiment) -> str:
    """16 hex digits of the chat template's file; "" where there is none, or it cannot be read."""
    policy = experiment.models.policy
    if not isinstance(policy, Pretrained) or policy.chat_template in ("none", "own"):
        return ""
    try:
        path = Path(policy.chat_template)
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
    except OSError:
        return ""


OWNERS: Final[Mapping[str, Callable[[Experiment], str]]] = {
    "method": lambda e: version_of(e.method),
    "searching": lambda e: rstar_math.VERSION,  # of the small search of evaluations
    "sampling": lambda e: flat.VERSION,  # of plain answers and greedy ones
    "template": template_key,
    "format": lambda e: format_of(e.models.policy.format).key,
    "kernel": lambda e: kernel.VERSION,
    "grader": graders_key,
    "sandbox": lambda e: sandbox.VERSION,
    "prelude": lambda e: making.prelude_key(e.problems),
    "sources": lambda e: making.key(e.problems, e.root),
    "redraws": lambda e: making.redraws_key(e.problems, e.root),
}


def keys_of(experiment: Experiment, uses: tuple[str, ...]) -> dict[str, str]:
    """The present keys of what is used, by name."""
    return {name: OWNERS[name](experiment) for name in uses}
