"""What ends a command from outside: Ctrl-C, SIGTERM, a closed terminal, or a reader of its output that went away.

Python makes an exception of a signal wherever the main thread happens to be; libraries catch exceptions, and Dagster
puts handlers of its own in place and forgets what they caught. So every signal is noted beside the handlers, through
the descriptor that Python writes each of them to. A command that was told to end says so in one line, and its status is
128 + the signal's number, whatever became of the exception: `received` is asked between units of work and at the end.
Whoever does not end within `GRACE_S`, or is told again, is ended: the store stands that, as it stands SIGKILL.
"""

import atexit
import logging
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

ENDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_S: Final = 10.0
AGAIN_S: Final = 1.0  # what comes sooner is the same word said twice: to a process, and to its group
BROKEN_PIPE: Final = 128 + signal.SIGPIPE
SHOW_CURSOR: Final = "\x1b[?25h"


class Noted:
    """Which signal came first, if one did, and whether the user has been told."""

    def __init__(self) -> None:
        self.number, self.told, self.again = 0, False, False
        self.at_s = 0.0
        self.pipe: tuple[int, int] | None = None

    def note(self, number: int) -> None:
        if not self.number:
            self.number, self.at_s = number, time.monotonic()
            silence()
        elif time.monotonic() - self.at_s > AGAIN_S:
            self.again = True

    def drain(self) -> None:
        """Note what stands in the pipe."""
        if self.pipe is None:
            return
        with suppress(BlockingIOError):
            for number in os.read(self.pipe[0], 4096):
                if number in ENDS:
                    self.note(number)


_noted = Noted()


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command in the main thread, and end the process with its status."""
    status = 1
    try:
        listen()
        main()
        status = 0
    except SystemExit as error:
        status = status_of(error)
    except BaseException:
        if not received():
            traceback.print_exc()
    finally:
        leave(status)


def listen() -> None:
    open_streams()
    reads, writes = os.pipe()
    for descriptor in (reads, writes):
        os.set_blocking(descriptor, False)
    _noted.pipe = (reads, writes)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    for number in ENDS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _raise)
    os.register_at_fork(after_in_child=release)
    threading.Thread(target=_watch, args=(reads,), daemon=True).start()


def open_streams() -> None:
    """What was closed by who started this leads nowhere now: the next file that is opened would take its place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))


def release() -> None:
    """Let the signals be, for a command that is meant to be ended by one, and for a forked child."""
    if _noted.pipe is not None:
        _noted.pipe = None
        signal.set_wakeup_fd(-1)
        for number in ENDS:
            if signal.getsignal(number) is _raise:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def received() -> int:
    """The number of the signal that told this process to end; 0 if none did."""
    _noted.drain()
    return _noted.number


def check() -> None:
    """Raises `KeyboardInterrupt` if this process was told to end, whoever caught the first one."""
    if received():
        raise KeyboardInterrupt


def say() -> int:
    """Tell the user in one line, once, that the command was interrupted; its exit status."""
    number = received() or signal.SIGINT
    if not _noted.told:
        _noted.told = True
        how = "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
        with suppress(OSError):
            os.write(2, f"error: {how}; the same command goes on from here\n".encode())
    return 128 + number


def status_of(error: SystemExit) -> int:
    if isinstance(error.__context__, BrokenPipeError):  # what rich and click make of it
        return BROKEN_PIPE
    if isinstance(error.code, str):
        print(error.code, file=sys.stderr)
        return 1
    return int(error.code or 0)


def leave(status: int) -> NoReturn:
    """End without the interpreter's own end, in which a signal would be lost or end in a trace."""
    for number in ENDS:
        if _noted.pipe is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = BROKEN_PIPE
    except (OSError, ValueError):  # a full disk; a closed stream
        status = status or 1
    with suppress(Exception):
        atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(say() if received() else status)


def silence() -> None:
    """From here on, what breaks breaks because of the signal."""
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = _nothing
    threading.excepthook = _nothing


def _nothing(_: object) -> None:
    pass


def _raise(number: int, _: FrameType | None) -> None:
    _noted.note(number)
    raise KeyboardInterrupt


def _watch(reads: int) -> None:
    """End the process if it does not end by itself."""
    while _noted.pipe is not None:
        left_s = GRACE_S - (time.monotonic() - _noted.at_s) if received() else None
        if _noted.again or (left_s is not None and left_s <= 0):
            if sys.stdout.isatty():
                os.write(1, SHOW_CURSOR.encode())
            os._exit(say())
        select.select([reads], [], [], left_s)
