"""Which files a program may read: the packages that the sandbox names, extension modules, and what these link to.

Not the folder of the standard library, whose modules come from `server.standard`, nor a folder of installed packages:
beside the named ones lie others, such as those that make an experiment's problems and could tell their answers.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from types import ModuleType

_ALWAYS = ["/etc/ld.so.cache", "/usr/lib/locale"]
# Looked for by the C library when a thread is cancelled, by no extension module.
_LATE_LIBRARIES = ["libgcc_s.so.1"]


def package_folders(names: list[str]) -> list[str]:
    """Folders, or files, of the imported top-level packages `names`, with the shared libraries that lie beside them."""
    found: list[str] = []
    for name in names:
        module = sys.modules.get(name)
        if module is not None:
            found += _places(module)
    return found


def _places(module: ModuleType) -> list[str]:
    folders = list(getattr(module, "__path__", ()))
    if not folders:
        file = getattr(module, "__file__", None)
        return [file] if file else []
    return [path for folder in folders for path in (folder, folder + ".libs") if os.path.isdir(path)]


def files(packages: list[str]) -> list[str]:
    """All that a program may read. Takes a moment: it links, in a process of its own, every extension module."""
    extensions = [entry for entry in sys.path if entry.endswith("lib-dynload") and os.path.isdir(entry)]
    listed = [*packages, *extensions, *_libraries(extensions), *_ALWAYS]
    return _without_nested([os.path.abspath(path) for path in listed if os.path.exists(path)])


def _libraries(folders: list[str]) -> list[str]:
    """Shared libraries that extension modules in `folders` link to and this process has not loaded."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = _mapped()
        for path in [*_LATE_LIBRARIES, *(entry.path for folder in folders for entry in os.scandir(folder))]:
            with contextlib.suppress(OSError):
                ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_LOCAL)
        with open(write, "w") as file:
            file.write("\n".join(_mapped() - before))
        os._exit(0)
    os.close(write)
    with open(read) as file:
        found = file.read().splitlines()
    os.waitpid(pid, 0)
    return [path for path in found if not any(path.startswith(folder + "/") for folder in folders)]


def _mapped() -> set[str]:
    with open("/proc/self/maps") as file:
        paths = {line.split(None, 5)[5].strip() for line in file if "/" in line}
    return {path for path in paths if ".so" in os.path.basename(path)}


def _without_nested(paths: list[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths), key=len):
        if not any(path.startswith(outer + "/") for outer in kept):
            kept.append(path)
    return kept
