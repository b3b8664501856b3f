"""Search against rejection sampling at equal generated tokens, on the pools that an evolved experiment searched.

    python -m benchmarks.rejection quickstart [--root var/artifacts]

For every round: the same policy, the same problems, and for each problem as many generated tokens as its search spent;
whole responses instead of a tree. Prints one JSON line a round: the problems that each solved, and the paired
difference in points with its 95 % interval over problems.
"""

import argparse
import json
from pathlib import Path

import polars as pl

from assets.graph import shard_names
from assets.problems import problems_of
from assets.trajectories import judge_of
from models.engines.transformers import TransformersEngine
from perseid.artifacts import Store
from perseid.experiment import Experiment, load_experiment
from perseid.formats import TOOLS
from perseid.methods import flat
from perseid.methods.flat import Flat
from perseid.metrics import paired_difference
from perseid.problems.sources.tools.versions import toolbox_source
from perseid.sandbox import AsyncSandbox, Sandbox
from perseid.search import Services, run_searches


def compare(experiment: Experiment, store: Store, number: int, sandbox: Sandbox) -> dict[str, object]:
    """Both ways of spending the tokens of round `number`."""
    name = f"{experiment.name}/round_{number:02d}"
    shards = [store.read(f"{name}/trajectories/{shard}", "searches") for shard in shard_names(experiment)]
    searches = pl.concat(shards).sort("problem_id")
    problems = store.read(f"{name}/pool", "problems").join(searches, on="problem_id", how="semi")
    folder = store.folder(f"{experiment.name}/round_{number - 1:02d}/policy", "model")
    judge = judge_of(problems, store.read(f"{name}/pool", "gold"))
    services = Services(TransformersEngine(folder, experiment.engine), None, AsyncSandbox(sandbox), judge)
    method = experiment.at(number).method
    budgets = dict(searches.select("problem_id", "tokens").iter_rows())
    longest = method.length * method.max_depth
    settings = flat.Settings(samples=method.candidates, temperature=method.temperature, max_tokens=longest)
    asked = problems_of(problems.sort("problem_id"))
    trees = run_searches(asked, Flat(settings, TOOLS, budgets=budgets), experiment.seed, services)
    rejected, searched = [tree.solved for tree in trees], searches["solved"].to_list()
    gain = paired_difference(searched, rejected, seed=experiment.seed)
    return {
        "name": "search.against_rejection",
        "experiment": experiment.name,
        "seed": experiment.seed,
        "round": number,
        "problems": len(asked),
        "solved_by_search": sum(searched),
        "solved_by_rejection": sum(rejected),
        "tokens_of_search": sum(budgets.values()),
        "tokens_of_rejection": sum(tree.tokens for tree in trees),
        "points": round(100 * gain.value, 1),
        "interval": [round(100 * gain.low, 1), round(100 * gain.high, 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", help="a name in experiments/")
    parser.add_argument("--root", type=Path, default=Path("var/artifacts"))
    parser.add_argument("--seed", type=int, default=None, help="the seed that was evolved with, if not the file's")
    given = parser.parse_args()
    overrides = {} if given.seed is None else {"seed": given.seed}
    experiment = load_experiment(Path("experiments") / f"{given.experiment}.yaml", overrides)
    with Sandbox(prelude=toolbox_source(), workers=2) as sandbox:
        for number in range(1, len(experiment.rounds) + 1):
            print(json.dumps(compare(experiment, Store(given.root), number, sandbox)), flush=True)


if __name__ == "__main__":
    main()
