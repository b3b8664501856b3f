"""The system calls that untrusted code may make: a list of what is allowed; everything else answers EPERM.

No fork, exec, making or naming of sockets, signal to anyone, question about another process, ptrace, prctl, namespaces,
mounts, io_uring, memfd, keyring or limits; no locks on files and no setting of their times, which would reach /dev/null
as others see it. Calls of a foreign architecture (int 0x80, x32) kill the process. EPERM rather than death, so that
Python sees an exception.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import importlib
import os
import termios
from typing import Any

_PLAIN = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
    access faccessat faccessat2 stat lstat fstat newfstatat statx statfs fstatfs
    readlink readlinkat getdents getdents64 getcwd chdir fchdir umask
    ftruncate fsync fdatasync sendfile copy_file_range fadvise64
    dup dup2 dup3 pipe pipe2 poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    mmap mprotect munmap mremap brk madvise msync
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack pause
    futex_waitv set_robust_list rseq membarrier set_tid_address exit exit_group sched_yield
    getpid getppid gettid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp
    nanosleep gettimeofday time times getrusage getrlimit
    recvmsg alarm setitimer getitimer restart_syscall uname sysinfo getrandom getcpu
"""
# Only where there is a scratch folder: Landlock has no say in who may chmod, and before version 3 none in truncation.
_SCRATCH = """
    open openat openat2 mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 truncate fallocate
    chmod fchmod fchmodat
"""
_FCNTL = (fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL)
_IOCTL = (termios.TCGETS, termios.TIOCGWINSZ, termios.FIOCLEX, termios.FIONCLEX, termios.FIONREAD, termios.FIONBIO)
# Answers differ for processes that exist and those that do not: about the caller alone.
_OF_ONESELF = "getpgid getsid sched_getaffinity sched_getparam sched_getscheduler get_robust_list"
# Clocks of processes have negative numbers.
_CLOCKS, _LAST_CLOCK = "clock_gettime clock_getres clock_nanosleep", 11
# WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT and WAKE by a mask. Those that pass on a priority look a process up.
_FUTEX, _FUTEX_COMMAND = (0, 1, 3, 4, 5, 9, 10), 0x7F
# pthread_create asks for these together; without CLONE_THREAD it would be a fork.
_THREAD_FLAGS = 0x00000100 | 0x00000800 | 0x00010000
_NAMESPACE_FLAGS = 0x7E020000 | 0x00000080


@functools.cache
def compile_filter(scratch: bool) -> bytes:
    """The list as a program for this architecture's kernel. The host compiles it: servers need no compiler in them.

    scratch: whether there is a folder to write in. Where there is none, files are opened to be read, never truncated.
    Raises `ImportError`, `RuntimeError` or `OSError` where that fails.
    """
    pyseccomp = importlib.import_module("pyseccomp")
    rules: Any = pyseccomp.SyscallFilter(defaction=pyseccomp.ERRNO(errno.EPERM))
    rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    # A tree, not a list: the kernel tries every call on a filter that it loads, which every child does. libseccomp 2.5.
    with contextlib.suppress(OSError, RuntimeError, ValueError):
        rules.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, 2)
    for name in [*_PLAIN.split(), *(_SCRATCH.split() if scratch else ())]:
        if _exists(pyseccomp, name):
            rules.add_rule(pyseccomp.ALLOW, name)
    _allow_in_part(rules, pyseccomp)
    if not scratch:
        _allow_reading(rules, pyseccomp)
    return _exported(rules)


def _exists(pyseccomp: Any, name: str) -> bool:
    try:
        return bool(pyseccomp.resolve_syscall(pyseccomp.system_arch(), name) >= 0)
    except ValueError:
        return False


def _allow_in_part(rules: Any, pyseccomp: Any) -> None:
    allow, arg, equal, masked = pyseccomp.ALLOW, pyseccomp.Arg, pyseccomp.EQ, pyseccomp.MASKED_EQ
    for command in _FCNTL:
        rules.add_rule(allow, "fcntl", arg(1, equal, command))
    for command in _IOCTL:
        rules.add_rule(allow, "ioctl", arg(1, equal, command))
    rules.add_rule(allow, "clone", arg(0, masked, _THREAD_FLAGS | _NAMESPACE_FLAGS, _THREAD_FLAGS))
    for name in filter(functools.partial(_exists, pyseccomp), _OF_ONESELF.split()):
        rules.add_rule(allow, name, arg(0, equal, 0))
    for name in _CLOCKS.split():
        rules.add_rule(allow, name, arg(0, pyseccomp.LE, _LAST_CLOCK))
    for command in _FUTEX:
        rules.add_rule(allow, "futex", arg(1, masked, _FUTEX_COMMAND, command))
    # glibc falls back to clone, whose flags a filter can read.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    # Reading one's own limits is allowed, setting them is not.
    rules.add_rule(allow, "prlimit64", arg(0, equal, 0), arg(2, equal, 0))


def _allow_reading(rules: Any, pyseccomp: Any) -> None:
    whole = (pyseccomp.MASKED_EQ, os.O_TRUNC, 0)
    for name, flags in (("open", 1), ("openat", 2)):
        if _exists(pyseccomp, name):
            rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(flags, *whole))


def _exported(rules: Any) -> bytes:
    with open(os.memfd_create("filter"), "wb") as file:
        rules.export_bpf(file)
        file.flush()
        return os.pread(file.fileno(), 1 << 20, 0)
