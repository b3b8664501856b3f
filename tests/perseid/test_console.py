"""The installed command, which belongs to the project in whose root it is called."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALL = "import sys; sys.argv[0] = 'perseid'; from perseid.console import main; main()"


def called(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", CALL, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)} | {"COLUMNS": "100"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_distribution_brings_the_command() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"] == {
        "perseid": "perseid.console:main"
    }


def test_in_the_root_of_a_project_it_is_its_command_line() -> None:
    helped = called(ROOT, "--help")
    assert helped.returncode == 0, helped.stderr
    assert "evolve" in helped.stdout
    assert helped.stdout.startswith("Usage: perseid ") or " Usage: perseid " in helped.stdout
    mistaken = called(ROOT, "status", "quickstat")
    assert (mistaken.returncode, mistaken.stdout) == (2, "")
    assert "did you mean quickstart?" in mistaken.stderr
    assert mistaken.stderr.count("\n") == 1


def test_elsewhere_it_says_where_it_belongs_in_one_line(tmp_path: Path) -> None:
    for folder, told in ((tmp_path, "there is no workspace.yaml here"), (ROOT / "docs", f"cd {ROOT}")):
        found = called(folder, "status", "smoke")
        assert (found.returncode, found.stdout) == (2, "")
        assert found.stderr == (
            f"error: {folder}: expected the root of a Perseid project, to which the commands belong; {told}\n"
        )
