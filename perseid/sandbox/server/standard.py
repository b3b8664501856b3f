"""Imports the standard library from the block that the host hands over: see `perseid.sandbox.standard_library`."""

from __future__ import annotations

import marshal
import mmap
import os
import sys
from importlib import util
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType


class StandardLibrary:
    """A finder on `sys.meta_path`, and the loader of what it finds. Keeps no table: a name is searched for."""

    def __init__(self, fd: int, folder: str) -> None:
        self._block = mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_PRIVATE, mmap.PROT_READ)
        self._start = 8 + int.from_bytes(self._block[:8], "little")
        self._folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """As the import system asks; None for what is no module of the standard library written in Python."""
        entry = self._entry(name)
        if entry is None:
            return None
        base = os.path.join(self._folder, *name.split("."))
        inside = [base] if entry[0] == "p" else None
        file = os.path.join(base, "__init__.py") if inside else base + ".py"
        return util.spec_from_file_location(name, file, loader=self, submodule_search_locations=inside)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """None: an ordinary module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code in it."""
        exec(self.get_code(module.__name__), module.__dict__)

    def get_code(self, name: str) -> CodeType:
        """The module's code. Raises `ImportError` for a name that this finder does not know."""
        entry = self._entry(name)
        if entry is None:
            raise ImportError(f"no module named {name!r} in the standard library", name=name)
        _, form, offset, size = entry
        with memoryview(self._block) as whole, whole[self._start + offset : self._start + offset + size] as content:
            if form == "s":
                return compile(bytes(content), f"<{name}>", "exec", dont_inherit=True)
            code: CodeType = marshal.loads(content)
            return code

    def get_source(self, name: str) -> str | None:
        """The module's source where the block has it, which is where it lay uncompiled."""
        entry = self._entry(name)
        if entry is None or entry[1] == "c":
            return None
        start = self._start + entry[2]
        return util.decode_source(self._block[start : start + entry[3]])

    def is_package(self, name: str) -> bool:
        """Whether `name` is a package."""
        entry = self._entry(name)
        return entry is not None and entry[0] == "p"

    def _entry(self, name: str) -> tuple[str, str, int, int] | None:
        """Package or module, compiled or source, offset, length."""
        if not isinstance(name, str) or "\t" in name or "\n" in name:
            return None
        at = self._block.find(b"\n%s\t" % name.encode("utf-8", "replace"), 0, self._start)
        if at < 0:
            return None
        line = self._block[at + 1 : self._block.find(b"\n", at + 1)].decode()
        _, kind, offset, size = line.split("\t")
        return kind[0], kind[1], int(offset), int(size)


def take_over(fd: int, folder: str, keep: list[str]) -> None:
    """Let names come from the block and from extension modules alone, and imported packages find their own parts.

    keep: folders of packages, whose listings stay. Whatever else the import system remembers of folders goes, names of
    their files included.
    """
    place = sys.meta_path.index(PathFinder)
    sys.meta_path[:] = [*sys.meta_path[:place], StandardLibrary(fd, folder), PathFinder]
    sys.path[:] = [entry for entry in sys.path if entry.endswith("lib-dynload") and os.path.isdir(entry)]
    for entry in list(sys.path_importer_cache):
        if entry not in sys.path and not any((entry + "/").startswith(package + "/") for package in keep):
            del sys.path_importer_cache[entry]
