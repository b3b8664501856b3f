"""Whole searches of the toy world, recorded. When one changes on purpose, raise `kernel.VERSION` or the method's.

To record anew: PERSEID_RECORD=1 python -m pytest tests/perseid/search/test_golden.py, and read the difference.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from perseid.formats import TOOLS
from perseid.methods.rstar_math import RStarMath, Settings
from perseid.search import run_searches

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"rollouts_unsolved": 4},
    "parity": {"unvisited": "zero", "tie": "first"},
    "ppm": {"ppm": True},
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_search_grows_the_recorded_trees(toy: Any, golden: Path, preset: str) -> None:
    settings = Settings(candidates=3, rollouts=4, max_depth=4, **PRESETS[preset])
    trees = run_searches(toy.problems(3), RStarMath(settings, TOOLS), 5, toy.services(3))
    found = {
        tree.problem_id: [
            [n.node_id, n.stats.status, n.stats.visits, round(n.stats.value_sum, 9), n.text, n.answer, n.correct]
            for n in tree.nodes
        ]
        for tree in trees
    }
    path = golden / f"toy_{preset}.json"
    if "PERSEID_RECORD" in os.environ:
        body = ",\n".join(f'"{p}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]" for p, rows in found.items())
        path.write_text(f"{{\n{body}\n}}\n")
    assert found == json.loads(path.read_text())
