"""Layer B: a world of its own for the server, and a fresh process table and scratch folder for every child.

The server enters user, mount, network, IPC and UTS namespaces; its root is an empty read-only tmpfs with nothing in it
but what a program may read, at its own path, and no /proc. A shared library lies under several names, so its whole
folder is there, without any Python's own folder in it; Landlock lets the file itself be read. Mounts come before the
uid is given up (an interpreter may lie under a folder that only root may enter). An ordinary user has to make its user
namespace first.
"""

from __future__ import annotations

import os

from . import kernel

SCRATCH_PARENT = "/sandbox"
SCRATCH = "/sandbox/box"
UNPRIVILEGED_ID = 65534
_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt", "/var/empty", "/run", "/tmp")
_LIBRARY_FOLDERS = ("/lib/", "/lib64/", "/usr/lib/", "/usr/lib64/", "/usr/local/lib/")
_WORLDS = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS


def available() -> OSError | None:
    """Whether this process could enter its namespaces, tried in a child: the refusal, or None."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        number = 0
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | _WORLDS | kernel.CLONE_NEWPID)
        except OSError as error:
            number = error.errno or 1
        os.write(write, bytes([number]))
        os._exit(0)
    os.close(write)
    number = (os.read(read, 1) or b"\1")[0]
    os.close(read)
    os.waitpid(pid, 0)
    return OSError(number, os.strerror(number)) if number else None


def enter(readable: list[str]) -> None:
    """Move this process into its own world, in which only `readable` paths exist, and libraries' folders.

    As root, give up root on the way.
    """
    libraries = {os.path.dirname(path) for path in readable if _is_library(path)}
    visible = sorted(libraries.union(path for path in readable if not _is_library(path)), key=len)
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if os.geteuid() == 0:
        kernel.unshare(_WORLDS)
        _build_root(visible, libraries)
        drop_root(keep_reading=False)
        _enter_user_namespace(proc)
    else:
        _enter_user_namespace(proc)
        kernel.unshare(_WORLDS)
        _build_root(visible, libraries)
    os.close(proc)


def _enter_user_namespace(proc: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        fd = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(fd, line.encode())
        os.close(fd)


def _is_library(path: str) -> bool:
    return path.startswith(_LIBRARY_FOLDERS) and ".so" in os.path.basename(path) and os.path.isfile(path)


def _build_root(visible: list[str], libraries: set[str]) -> None:
    root = _free_mount_point(visible)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    os.umask(0o022)
    shown: list[str] = []
    for path in visible:
        if not any(_holds(outer, path, outer in libraries) for outer in shown):
            _show(path, root + path, path in libraries)
            shown.append(path)
    for link in filter(os.path.islink, ("/lib", "/lib64", "/usr/lib64")):
        os.makedirs(os.path.dirname(root + link), exist_ok=True)
        os.symlink(os.readlink(link), root + link)
    os.makedirs(root + SCRATCH)
    os.chdir(root)
    kernel.pivot_root(".", ".")
    kernel.unmount_lazily(".")
    os.chdir("/")
    kernel.make_readonly("/")


def _holds(outer: str, path: str, is_library_folder: bool) -> bool:
    """Whether `path` is there once `outer` is shown."""
    return path.startswith(outer + "/") and not (is_library_folder and path.startswith(outer + "/python"))


def _show(path: str, target: str, is_library_folder: bool) -> None:
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    kernel.mount(path, target, "", kernel.MS_BIND | kernel.MS_REC)
    for name in os.listdir(target) if is_library_folder else ():
        if name.startswith("python") and os.path.isdir(os.path.join(target, name)):
            flags = kernel.MS_NOSUID | kernel.MS_NODEV
            kernel.mount("tmpfs", os.path.join(target, name), "tmpfs", flags, "size=1m,mode=755")


def _free_mount_point(visible: list[str]) -> str:
    for candidate in _MOUNT_POINTS:
        below = any(path == candidate or path.startswith(candidate + "/") for path in visible)
        if os.path.isdir(candidate) and not os.path.islink(candidate) and not below:
            return candidate
    raise OSError(2, f"no folder to build the new root on, tried {', '.join(_MOUNT_POINTS)}")


def drop_root(keep_reading: bool) -> None:
    """Give up uid 0 for an unprivileged one, and every capability.

    keep_reading: keep CAP_DAC_READ_SEARCH, for an interpreter under a folder that only root may enter. Only ever under
    Landlock, which confines what that capability can reach to the interpreter itself.
    """
    kernel.prctl(kernel.PR_SET_KEEPCAPS, int(keep_reading))
    os.setgroups([])
    os.setresgid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    os.setresuid(UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    kept = 1 << kernel.CAP_DAC_READ_SEARCH if keep_reading else 0
    kernel.set_capabilities(kept, kept)
    # Changing the uid made the process non-dumpable, and its own /proc entries root's.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def enter_process_namespace() -> None:
    """Become process 1 of a new process table; the process left behind only waits for it.

    The kernel ends everything in the table with its process 1, and process 1 with its parent.
    """
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid:
        os.closerange(0, 4096)
        os.waitpid(pid, 0)
        os._exit(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)


def prepare_child(own: int) -> None:
    """In the server, before a fork: the next child gets a process table of its own. own: a pidfd of the server."""
    kernel.setns(own, kernel.CLONE_NEWPID)
    kernel.unshare(kernel.CLONE_NEWPID)


def mount_scratch(num_bytes: int) -> None:
    """In the child: a mount namespace of its own with a fresh empty scratch folder, which is where the code starts."""
    kernel.unshare(kernel.CLONE_NEWNS)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", SCRATCH, "tmpfs", flags, f"size={num_bytes},nr_inodes=1024,mode=700")
    os.chdir(SCRATCH)
