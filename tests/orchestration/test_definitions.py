"""What the UI and the daemon load."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from orchestration.code_location import BROKEN, definitions, shown
from orchestration.places import Places, all_experiments, experiment_file
from orchestration.resources import resources
from perseid.errors import UserError
from perseid.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "trl", "vllm", "mlflow", "matplotlib", "datasets", "accelerate", "sympy")
EXPERIMENT = Experiment.model_validate(
    {
        "name": "x",
        "problems": {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]},
        "control": {},
        "shards": 2,
        "rounds": [{}, {"method": {"ppm": True}}],
    }
)


@pytest.fixture
def defs(tmp_path: Path) -> dg.Definitions:
    places = Places.of(tmp_path)
    return definitions([EXPERIMENT], resources(places), places)


def test_definitions_load_without_a_heavy_library() -> None:
    code = f"import sys, orchestration.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_definitions_are_loadable_and_every_asset_has_its_place(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    by_group: dict[str, list[str]] = {}
    for key in sorted(graph.get_all_asset_keys()):
        by_group.setdefault(graph.get(key).group_name, []).append(key.path[-1])
    a_round = ["evaluation", "pairs", "policy", "pool", "ppm", "trajectories", "verified"]
    assert by_group == {
        "x": ["problems"],
        "x__round_00": ["evaluation", "policy"],
        "x__round_01": ["control", *a_round],  # both rounds train alike, and share it
        "x__round_02": a_round,
    }


def test_shards_are_partitions_of_the_search_alone(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    partitioned = {
        key.to_user_string(): list(graph.get(key).partitions_def.get_partition_keys())
        for key in graph.get_all_asset_keys()
        if graph.get(key).partitions_def is not None
    }
    shards = ["000", "001"]
    assert partitioned == {"x/round_01/trajectories": shards, "x/round_02/trajectories": shards}


def test_every_asset_has_a_blocking_check_of_its_tables(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    blocking = {key.asset_key for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == graph.get_all_asset_keys()


def test_the_schedule_is_there_and_off(defs: dg.Definitions) -> None:
    schedule = defs.resolve_schedule_def("x__next_round")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_a_broken_file_is_shown_with_the_reason_and_the_others_load(tmp_path: Path) -> None:
    good = (ROOT / "experiments" / "smoke.yaml").read_text()
    for name, text in {
        "a.yaml": good,
        "b.yaml": good,
        "draft.yaml": "name: draft\nproblems: {",
        "old.yaml": good.replace("name: smoke", "name: old").replace("rollouts:", "rolouts:"),
        "z.yaml": good.replace("name: smoke", "name: z"),
        ".#z.yaml": "an editor's",
        "notes.txt": "none",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.yaml").mkdir()
    found = all_experiments(tmp_path)
    assert [experiment.name for experiment in found.experiments] == ["smoke", "z"]
    assert {path.name: reason.removeprefix(f"{path}: ").split(";")[0] for path, reason in found.broken.items()} == {
        "b.yaml": "name: expected a name of its own, found that of a.yaml, smoke",
        "draft.yaml": "line 2: expected YAML: expected the node content, but found '<stream end>'",
        "folder.yaml": "expected an experiment file, found a folder",
        "old.yaml": "method.rolouts: there is no such key (did you mean rollouts?)",
    }
    places = Places.of(tmp_path / "root")
    defs = definitions(found.experiments, resources(places), places, found.broken)
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    shown = {key.path[-1]: graph.get(key) for key in graph.get_all_asset_keys() if key.path[0] == BROKEN}
    assert {name: node.description for name, node in shown.items()} == {
        path.name: reason for path, reason in found.broken.items()
    }
    assert not any(node.is_executable for node in shown.values())
    assert {"smoke", "z"} <= {key.path[0] for key in graph.get_all_asset_keys()}


def test_a_misspelt_experiment_is_answered_with_the_nearest_there_is() -> None:
    for name in ("smok", "x" * 300, "a\0b", "", ".#smoke"):
        with pytest.raises(UserError, match=r"no such experiment.*one of: quickstart, .*smoke"):
            experiment_file(name)
    with pytest.raises(UserError, match=r"did you mean smoke\?"):
        experiment_file("smok")


def test_a_broken_file_whose_name_cannot_be_printed_keeps_nothing_from_being_shown(tmp_path: Path) -> None:
    spec, other = shown({tmp_path / "\udcff.yaml": "of \udcff", tmp_path / "\x1b[31m.yaml": "of \x1b[31m"})
    assert (spec.key.path[1], spec.description) == ("\\udcff.yaml", "of \\udcff")
    assert (other.key.path[1], other.description) == ("\\x1b[31m.yaml", "of \\x1b[31m")
