"""The shape of the repository, held by tests: who imports whom, what is installed, what the README prints."""

import math
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from perseid.experiment import Experiment
from perseid.problems.sources.tools.families import FAMILIES
from perseid.recipes import recipe_named, recipes

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("perseid", "models", "assets", "orchestration")
README = ROOT / "README.md"
TOP = (".ci", "experiments", *NAMES, "tests", "benchmarks", "docs")
LISTED = (*NAMES, "perseid/search")  # folders whose every file the README's tree names


def test_imports_go_down_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_perseid_is_claimed_by_an_installed_distribution() -> None:
    claimed = {name: owners for name, owners in metadata.packages_distributions().items() if name in NAMES}
    assert {owner for owners in claimed.values() for owner in owners} <= {"perseid"}
    assert set(claimed) <= {"perseid"}


def test_the_repository_s_own_packages_are_the_ones_imported() -> None:
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {NAMES}), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ROOT / name / "__init__.py") for name in NAMES]


def test_constraints_pin_every_line_and_name_no_index() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][A-Za-z0-9.]*", line)] == []
    assert "torch==2.13.0" in lines


def test_no_stage_is_known_by_its_name_outside_of_recipes() -> None:
    """A stage is found by what it does, an input by its role: a recipe may call them what it likes."""
    told = "|".join(sorted({stage for recipe in recipes() for stage in stages_of(recipe)}))
    looks = rf"""\.stage\s*(==|!=|in\b)|key_of\(.*["']({told})["']|/({told})["']|stage\s*(=|in|like)\s*\(?'"""
    paths = [p for top in (*NAMES, "benchmarks") for p in (ROOT / top).rglob("*") if p.suffix in (".py", ".sql")]
    found = [(str(p.relative_to(ROOT)), line) for p in paths for line in p.read_text().splitlines()]
    assert [line for line in found if re.search(looks, line[1]) and not is_example(*line)] == []


def test_general_code_knows_no_word_of_the_toy() -> None:
    """What is known of a problem is a facet, whatever it is called: nothing outside of its folder may look for one."""
    own = {"family", "families", "composition", "compositions", "composed", "wording", "wordings", "drill", "drills"}
    own |= {"explorations", "toolbox", "undemonstrated", "new_wording", "new_composition"}
    own |= {family for family in FAMILIES if not hasattr(math, family)}
    looks = re.compile(rf"\b({'|'.join(sorted(own))})\b", re.IGNORECASE)
    paths = [p for top in NAMES for p in (ROOT / top).rglob("*") if p.suffix in (".py", ".sql")]
    general = [p for p in paths if "tools" not in p.relative_to(ROOT).parts and "sandbox" not in p.parts]
    found = [(str(p.relative_to(ROOT)), line) for p in general for line in p.read_text().splitlines()]
    assert [line for line in found if looks.search(line[1])] == []


def is_example(path: str, line: str) -> bool:
    """Words for a reader, and benchmarks of one experiment."""
    return path.startswith("benchmarks/") or "such as" in line or line.lstrip().startswith(('"""', "#"))


def stages_of(recipe: str) -> set[str]:
    problems = {"train": [{"source": "tools", "demonstrated": ["gcd"], "undemonstrated": ["lcm"]}]}
    rest = {"name": "x", "problems": problems, "rounds": [{}]}
    e = Experiment.model_validate({**rest, "recipe": recipe, "control": {"kind": "unverified"}})
    return {stage.name for number in (None, 0, 1) for stage in recipe_named(recipe).stages(e, number)}


def test_ci_runs_make_test() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_readme_s_tree_names_what_there_is_and_nothing_else() -> None:
    named = set(tree_paths(README.read_text().splitlines()))
    there = folders() | {path for folder in LISTED for path in files(folder)}
    assert sorted(there - named) == []
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def folders() -> set[str]:
    """Every folder of the repository; of the tests', which mirror the others, the first level."""
    found = {str(folder.relative_to(ROOT)) for top in TOP for folder in [ROOT / top, *(ROOT / top).rglob("*/")]}
    return {path for path in found if not re.search(r"/[._]|^tests/.*/", path)}


def files(folder: str) -> set[str]:
    """What stands in a folder whose files the tree names, but for Python's own `__init__` and `__main__`."""
    paths = (ROOT / folder).glob("*.*")
    return {str(path.relative_to(ROOT)) for path in paths if path.is_file() and path.name[0] not in "._"}


def tree_paths(lines: list[str]) -> list[str]:
    """Paths of a drawn tree: four columns a level, the name after the branch, a comment after two blanks."""
    found: list[str] = []
    above: list[str] = []
    for line in lines:
        match = re.match(r"((?:│   |    )*)(?:├──|└──) (\S+)", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth:] = [match[2].rstrip("/")]
        found.append("/".join(above))
    return found
