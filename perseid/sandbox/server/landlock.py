"""Which files untrusted code may touch: read beneath given paths, write beneath the scratch folder, nothing else."""

from __future__ import annotations

import fcntl
import os
import struct

from . import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
# Rights that each version of the interface can withhold: 13 at first, then REFER, TRUNCATE, IOCTL_DEV.
_NUM_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ALL_TCP = 3
_ALL_SCOPES = 3


def create_ruleset(readable: list[str], writable: str | None) -> int:
    """A ruleset descriptor for `kernel.landlock_restrict`. Missing readable paths are skipped.

    Everything the kernel's version can withhold is withheld: files, TCP (version 4), signals and abstract sockets to
    processes outside (version 6). `writable` is the parent of the mount point of the scratch folder: a rule reaches
    through a mount to what lies beneath, but not from the mount point itself.
    """
    abi = kernel.landlock_abi()
    handled = (1 << _NUM_RIGHTS.get(abi, 16)) - 1
    attributes = struct.pack("=Q", handled)
    if abi >= 4:
        attributes += struct.pack("=Q", _ALL_TCP)
    if abi >= 6:
        attributes += struct.pack("=Q", _ALL_SCOPES)
    ruleset = kernel.landlock_create(attributes)
    for path in readable:
        if os.path.exists(path):
            rights = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)
            kernel.landlock_allow(ruleset, path, rights)
    if writable is not None:
        files = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE | _MAKE_DIR | _MAKE_REG | _REMOVE_DIR | _REMOVE_FILE
        kernel.landlock_allow(ruleset, writable, files & handled)
    # Away from the low descriptors, which every child rearranges.
    high = fcntl.fcntl(ruleset, fcntl.F_DUPFD_CLOEXEC, 64)
    os.close(ruleset)
    return high
