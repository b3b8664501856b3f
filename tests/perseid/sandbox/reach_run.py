"""Sends a program out to find what is not its own, as one of several users on one of several kernels; prints JSON.

    python reach_run.py USER KERNEL

As `hostile_run.py`. The program is told where everything lies, and may have any module but the standard library's and
those of the packages that the sandbox names.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import site
import sys
import sysconfig
import warnings
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

from perseid.sandbox import Limits, Sandbox  # noqa: E402
from tests.perseid.sandbox import hostile_run  # noqa: E402

NAMED = {"sympy", "mpmath", "numpy"}
PROGRAM = """
import importlib, importlib.util, json, os, pkgutil, sys, zipimport
sys.path += folders
sys.path_importer_cache.clear()
importlib.invalidate_caches()
found, tops = [], set()
for name in names:
    try:
        if importlib.util.find_spec(name) is not None:
            found.append(("found", name))
    except ImportError:
        pass
    try:
        importlib.import_module(name)
        found.append(("imported", name))
    except ImportError:
        pass
for path in files:
    try:
        with open(path, "rb") as file:
            found.append(("read", path, len(file.read(10))))
    except OSError:
        pass
    try:
        zipimport.zipimporter(path)
        found.append(("zipped", path))
    except ImportError:
        pass
readable = 0
for top in ["/", *folders, *above]:
    for place, inner, outer in os.walk(top):
        readable += len(inner) + len(outer)
        found.append(("listed", place))
found += [("listed", module.name) for module in pkgutil.iter_modules(folders)]
for name in allowed:
    importlib.import_module(name)
print(json.dumps([found, sys.path[: -len(folders)]]))
"""


def surroundings() -> dict[str, list[str]]:
    """Folders of installed packages and the project, files in them, and names of modules that no program may have."""
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    base = Path(sys.base_prefix, "lib", stdlib.name, "site-packages")
    packages = [Path(path) for path in (*site.getsitepackages(), sysconfig.get_paths()["purelib"])]
    folders = {path for path in (*packages, base, stdlib / "site-packages", ROOT, stdlib) if path.is_dir()}
    files = [file for folder in folders for file in list(folder.iterdir())[:400] if file.is_file()]
    files += [stdlib / "os.py", stdlib / "test" / "__init__.py", *stdlib.glob("ensurepip/_bundled/*.whl")]
    files += [*packages[0].glob("*.dist-info/METADATA"), *packages[0].glob("reasoning_gym/*.py")]
    installed = set(importlib.metadata.packages_distributions()) - NAMED - set(sys.stdlib_module_names)
    names = {name for name in installed if name.isidentifier()} | {"perseid", "assets", "models", "tests", "test"}
    return {
        "folders": sorted(map(str, folders)),
        "files": sorted(str(file) for file in files if file.is_file()),
        "above": sorted({str(path) for folder in folders for path in folder.parents}),
        "names": sorted(names | {"ensurepip", "pip", "setuptools", "reasoning_gym"}),
        "allowed": ["sqlite3", "ssl", "unittest.mock", "xml.dom.minidom", "wave", "concurrent.futures", "zoneinfo"],
    }


def main(user: str, kernel_name: str) -> None:
    if not os.path.isdir(site.getsitepackages()[0]):
        raise SystemExit("no installed packages to be found")
    told = surroundings()
    if user == "ordinary":
        hostile_run.become_ordinary()
    if kernel_name == "without-namespaces":
        hostile_run.refuse_namespaces()
    warnings.simplefilter("ignore")
    limits = Limits(timeout_s=60.0, code_bytes=4 << 20, output_bytes=1 << 20)
    setting = "".join(f"{name} = {value!r}\n" for name, value in told.items())
    with Sandbox(limits, tier="cpython") as sandbox:
        executions = [sandbox.run(setting + start + PROGRAM) for start in ("", "import sympy, numpy\n")]
        layers = sandbox.capabilities()["layers"]
    outcomes = [[execution.status, execution.error, execution.stdout] for execution in executions]
    print(json.dumps({"layers": layers, "told": told, "outcomes": outcomes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
