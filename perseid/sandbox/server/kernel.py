"""The kernel calls that Python lacks, by ctypes. Each raises `OSError` naming the call. Linux 5.13 and later.

Numbers of the calls below are the same on every 64-bit architecture, save those in `_BY_MACHINE`.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_BY_MACHINE = {  # machine: (capset, pivot_root, seccomp)
    "x86_64": (126, 155, 317),
    "aarch64": (91, 41, 277),
}
_SYS_CAPSET, _SYS_PIVOT_ROOT, _SYS_SECCOMP = _BY_MACHINE.get(platform.machine(), (-1, -1, -1))
_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 38
CAP_DAC_READ_SEARCH = 2
_AT_RECURSIVE, _AT_FDCWD = 0x8000, -100
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 1, 2, 4
_SECCOMP_SET_MODE_FILTER = 1
_MADV_COLLAPSE = 25
_CAPABILITY_VERSION_3 = 0x20080522


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _syscall(name: str, number: int, *arguments: object) -> int:
    if number < 0:
        raise OSError(38, f"{name}: not known on {platform.machine()}")
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), name)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare {flags:#x}")


def setns(fd: int, flags: int) -> None:
    """setns(2)."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(flags)), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    arguments = [text.encode() or None for text in (source, target, kind)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {target}")


def unmount_lazily(target: str) -> None:
    """umount2(2) with MNT_DETACH."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def make_readonly(path: str, recursive: bool = True) -> None:
    """Make a mount read-only, without set-uid programs or devices; flags it already has stay (mount_setattr(2))."""
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    flags = ctypes.c_uint(_AT_RECURSIVE if recursive else 0)
    fd, size = ctypes.c_int(_AT_FDCWD), ctypes.c_size_t(len(attributes))
    _syscall("mount_setattr", _SYS_MOUNT_SETATTR, fd, path.encode(), flags, attributes, size)


def collapse(place: int, size: int) -> None:
    """Put `size` bytes of memory at address `place` into one large page (madvise(2) with MADV_COLLAPSE)."""
    advice = ctypes.c_int(_MADV_COLLAPSE)
    _check(_libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(size), advice), "madvise")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _syscall("pivot_root", _SYS_PIVOT_ROOT, new.encode(), old.encode())


def set_capabilities(effective: int, permitted: int) -> None:
    """capset(2) on this thread: bit masks; nothing is inheritable."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = effective & 0xFFFFFFFF, effective >> 32
    permitted_low, permitted_high = permitted & 0xFFFFFFFF, permitted >> 32
    _syscall("capset", _SYS_CAPSET, header, struct.pack("=6I", low, permitted_low, 0, high, permitted_high, 0))


class Filter:
    """A compiled seccomp program, laid out for the kernel once and loaded by every child."""

    def __init__(self, program: bytes) -> None:
        self._program = ctypes.create_string_buffer(program, len(program))
        self._header = struct.pack("@HP", len(program) // 8, ctypes.addressof(self._program))

    def load(self) -> None:
        """Put the filter in force for this thread; needs no_new_privs."""
        _syscall("seccomp", _SYS_SECCOMP, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), self._header)


def landlock_abi() -> int:
    """The Landlock version of this kernel; raises `OSError` where there is none or it is switched off."""
    return _syscall("landlock", _SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))


def landlock_create(attributes: bytes) -> int:
    """landlock_create_ruleset(2): a descriptor."""
    return _syscall(
        "landlock_create_ruleset", _SYS_LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0)
    )


def landlock_allow(ruleset: int, path: str, access: int) -> None:
    """landlock_add_rule(2) for what lies beneath `path`."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, fd)
        _syscall("landlock_add_rule", _SYS_LANDLOCK_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint(0))
    finally:
        os.close(fd)


def landlock_restrict(ruleset: int) -> None:
    """landlock_restrict_self(2)."""
    _syscall("landlock_restrict_self", _SYS_LANDLOCK_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint(0))


def give_back() -> None:
    """Return freed memory that the allocator holds to the kernel; nothing where the C library is not glibc."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))
