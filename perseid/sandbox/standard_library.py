"""The standard library as one sealed block of memory, from which fork servers import instead of from its folder.

That folder commonly holds what generated code must not read: installed packages, wheels, test data. Landlock can only
let in a folder with all that lies below it, and a rule for each of its files would cost every child a millisecond. So
the modules come as bytes: exactly those that Python itself names as its own. One block serves all servers of a process.

Layout: the length of the index (8 bytes, little-endian), the index, the modules. A line of the index is the module's
name, whether it is a package (`p`) or a module (`m`), whether it is compiled (`c`) or source (`s`), offset and length,
with tabs between them.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Installers, programs with windows and tests: no program needs them, and they carry wheels and data.
_LEFT_OUT: Final = frozenset({"ensurepip", "idlelib", "turtledemo", "test", "tests", "idle_test"})
_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@functools.cache
def block() -> int:
    """Descriptor of the block, made at the first call and open for the life of this process."""
    index, parts, offset = [""], [], 0
    for name, file in modules(Path(sysconfig.get_paths()["stdlib"])):
        content, is_compiled = _content(file)
        kind = ("p" if file.name == "__init__.py" else "m") + ("c" if is_compiled else "s")
        index.append(f"{name}\t{kind}\t{offset}\t{len(content)}")
        parts.append(content)
        offset += len(content)
    table = "\n".join([*index, ""]).encode()
    fd = os.memfd_create("standard-library", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(fd, "wb", closefd=False) as file_out:
        file_out.writelines([len(table).to_bytes(8, "little"), table, *parts])
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and source of every module of the standard library in `folder`, by the list that Python has of them."""
    for name, file in _modules_in(folder, ""):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top.startswith("_sysconfigdata"):
            yield name, file


def _modules_in(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name in _LEFT_OUT:
            continue
        path = folder / entry.name
        if entry.is_dir() and (path / "__init__.py").is_file():
            yield from _modules_in(path, f"{prefix}{entry.name}.")
        elif entry.name == "__init__.py" and prefix:
            yield prefix[:-1], path
        elif entry.name.endswith(".py"):
            yield prefix + entry.name.removesuffix(".py"), path


def _content(source: Path) -> tuple[bytes, bool]:
    """The module's compiled code where its cache is there and fresh, or its source; and which of them it is."""
    with contextlib.suppress(OSError):
        cached = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        found = source.stat()
        written = b"".join(
            (number & 0xFFFFFFFF).to_bytes(4, "little") for number in (int(found.st_mtime), found.st_size)
        )
        if cached[:4] == importlib.util.MAGIC_NUMBER and cached[4:16] == bytes(4) + written:
            return cached[16:], True
    return source.read_bytes(), False
