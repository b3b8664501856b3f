"""Does it evolve? The quickstart in several seeds, each from nothing, with its control.

    python -m benchmarks.evolution --experiment quickstart --seeds 0 1 2 [--root var/seeds]

One JSON line a seed and round: greedy pass@1 of the policy and of the control, the paired differences with their
intervals, the parts of the held-out set, PPM pair accuracy, the share of verified programs that are wrong, problems
solved by search, families first verified in the round; and a last line a seed with the wall seconds of the whole run.
Seeds that exist under the root already are read, not run again (their wall seconds are then those of reading).
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from perseid.artifacts import Store
from perseid.queries import run_query

METRICS = (
    "greedy_pass@1",
    "control greedy_pass@1",
    "greedy_delta_previous",
    "greedy_delta_control",
    "sampled_pass@8",
    "sampled_maj@8",
    "sampled_ppm_best@8",
    "mcts_pass@1",
    "matched_pass@1",
    "ppm_pair_accuracy",
    "verified_but_wrong",
)
FIRST = """
    select round, string_agg(name, ' ' order by name) as found from (
        select min(v.round) as round, f.value as name
        from verified v join facets f using (experiment, problem_id) where f.name = 'task' group by f.value
    ) group by round
"""
PARTS = "select round, part, value, n from metrics where metric = 'greedy_pass@1' and arm = 'policy' and facet = 'part'"
SOLVED = "select round, count(*) filter (where solved) as solved, count(*) as asked from searches group by round"


def evolved(experiment: str, seed: int, root: Path) -> tuple[dict[str, Any], float]:
    """What `status --json` says after the run, and the run's wall seconds."""
    common = [sys.executable, "-m", "orchestration"]
    place = ["--seed", str(seed), "--root", str(root)]
    started = time.monotonic()
    subprocess.run([*common, "evolve", experiment, *place], check=True, stdout=sys.stderr)
    wall_s = time.monotonic() - started
    told = subprocess.run([*common, "status", experiment, *place, "--json"], check=True, capture_output=True, text=True)
    return json.loads(told.stdout), wall_s


def points(metric: dict[str, float]) -> list[float]:
    return [round(100 * metric[name], 1) for name in ("value", "low", "high")]


def lines(status: dict[str, Any], store: Store, seed: int) -> list[dict[str, Any]]:
    """A line a round."""
    found = dict(run_query(store, FIRST).iter_rows())
    solved = {number: (right, asked) for number, right, asked in run_query(store, SOLVED).iter_rows()}
    parts: dict[int, dict[str, float]] = {}
    for number, part, value, _ in run_query(store, PARTS).iter_rows():
        parts.setdefault(number, {})[part] = round(100 * value, 1)
    return [
        {
            "name": "evolution",
            "seed": seed,
            "round": row["round"],
            **{name: points(row["metrics"][name]) for name in METRICS if name in row["metrics"]},
            "pairs": row["metrics"].get("ppm_pair_accuracy", {}).get("n", 0),
            "parts": parts.get(row["round"], {}),
            "solved": solved.get(row["round"], (0, 0)),
            "found": found.get(row["round"], ""),
            "tokens": row["tokens"],
            "seconds": row["seconds"],
        }
        for row in status["rounds"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--root", type=Path, default=Path("var/seeds"))
    given = parser.parse_args()
    for seed in given.seeds:
        root = given.root / f"seed_{seed}" / "artifacts"
        status, wall_s = evolved(given.experiment, seed, root)
        for line in lines(status, Store(root), seed):
            print(json.dumps(line), flush=True)
        print(json.dumps({"name": "evolution.wall", "seed": seed, "value": round(wall_s, 1), "unit": "s"}), flush=True)


if __name__ == "__main__":
    main()
