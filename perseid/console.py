"""The command `perseid`: the command line of the project whose root it is called in.

Only the science is installed; `orchestration`, `assets` and `models` are the project's own files, as in every Dagster
project, and are found from its root. `python -m orchestration` there is the same thing.
"""

import runpy
import sys
from pathlib import Path

PROJECT = ("workspace.yaml", "orchestration/__main__.py", "experiments")  # stand in the root of a project


def main() -> None:
    """Ends with the command's status; with 2 and one line outside of a project's root."""
    root = Path.cwd()
    if missing := [name for name in PROJECT if not (root / name).exists()]:
        inner = next((above for above in root.parents if all((above / name).exists() for name in PROJECT)), None)
        there = f"cd {inner}" if inner else f"there is no {missing[0]} here"
        sys.exit(_refused(f"{root}: expected the root of a Perseid project, to which the commands belong; {there}"))
    sys.path.insert(0, str(root))
    runpy.run_module("orchestration", run_name="__main__")


def _refused(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
