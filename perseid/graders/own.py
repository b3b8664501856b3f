"""The user's own graders: the section `graders`, and who asks them.

    graders: {mine: {python: experiments/mine/grade.py}}

makes a kind of answer, `mine`. The file has a function `grade(question, gold, answers) -> list`, a number for each
answer: right from `right_from` on, wrong below, None where it cannot tell. It runs in a process of its own
(`own_process.py`), which is given the content that was read with the experiment: what is hashed is what runs. Whatever
goes wrong there is no verdict, and stops nothing: it raises, hangs, ends, forks, returns too few values or what are no
numbers. Answers that were asked together are then asked one by one, so that none takes the verdict of another with it.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import itertools
import json
import logging
import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, PrivateAttr

from perseid.errors import UserError, printable
from perseid.graders.grader import Asked, Verdict
from perseid.graders.process import Child, Lost, NotStarted
from perseid.section import OPERATIONAL, Section

VERSION: Final = "1"  # raised by hand when the same grader's same values come to mean other verdicts
MAX_BYTES: Final = 1 << 20  # of the file
PROCESS: Final = Path(__file__).with_name("own_process.py")
ARGUMENTS: Final = ("question", "gold", "answers")


class Own(Section):
    """A grader of the user's own. Only the content of its file decides verdicts, and `right_from`."""

    python: Annotated[str, Field(min_length=1, max_length=4096), OPERATIONAL]  # path of a file, with `grade` in it
    timeout_s: Annotated[float, Field(ge=0.01, le=86_400.0), OPERATIONAL] = 10.0  # of one call, on the wall
    right_from: float = 1.0  # least value that is right
    _source: str | None = PrivateAttr(None)

    def unreadable(self, root: Path) -> tuple[str, str] | None:
        """Read the file; the key and what was expected where that fails. Nothing of it is run.

        root: what a relative path starts from.
        """
        try:
            self._source = _read(root / self.python)
        except _Mistake as mistake:
            return "python", str(mistake)
        return None

    @property
    def source(self) -> str:
        """The content of the file, as it was when the experiment was read. Raises `UserError` where it has none."""
        if self._source is None and (found := self.unreadable(Path.cwd())):
            raise UserError(self.python, *found)
        return self._source or ""

    @property
    def key(self) -> str:
        """16 hex digits of all that decides its verdicts."""
        return hashlib.sha256(json.dumps([VERSION, self.right_from, self.source]).encode()).hexdigest()[:16]


class _Mistake(Exception):
    """In a file: what was expected."""


def _read(path: Path) -> str:
    """The source of a grader that can be called."""
    source = _text(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        where = f" in line {error.lineno}" if error.lineno else ""
        raise _Mistake(f"expected Python, found {printable(error.msg)}{where}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise _Mistake(f"expected Python ({printable(str(error)) or 'nested too deep'})") from None
    wanted = f"expected a function grade({', '.join(ARGUMENTS)})"
    named = [found for part in tree.body for found in _defined(part)]
    if not named:
        raise _Mistake(f"{wanted}, found none in {printable(str(path))}")
    if isinstance(named[-1], ast.AsyncFunctionDef):
        raise _Mistake(f"{wanted}, found an asynchronous one")
    if isinstance(named[-1], ast.FunctionDef) and not _takes_three(named[-1].args):
        raise _Mistake(f"{wanted}, found one of other arguments")
    return source


def _text(path: Path) -> str:
    """Of a regular file alone: a device or a pipe may have no end, or no beginning."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise _Mistake(f"expected a Python file, found something else at {printable(str(path))}")
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else "") or "no such name"
        raise _Mistake(f"expected a Python file; {printable(str(path))} cannot be read ({why})") from None
    if len(content) > MAX_BYTES:
        raise _Mistake(f"expected a file of at most {MAX_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Mistake("expected text in UTF-8") from None


def _defined(part: ast.stmt) -> list[ast.stmt]:
    """The statements in `part`, outside of functions and classes, that bind the name `grade`."""
    if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [part] if part.name == "grade" else []
    if isinstance(part, ast.Import | ast.ImportFrom):
        return [part] if any((name.asname or name.name) == "grade" for name in part.names) else []
    if isinstance(part, ast.Assign | ast.AnnAssign):
        targets = part.targets if isinstance(part, ast.Assign) else [part.target]
        named = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
        return [part] if "grade" in named else []
    inner = [part for part in ast.iter_child_nodes(part) if isinstance(part, ast.stmt | ast.excepthandler)]
    return [found for one in inner for found in (_defined(one) if isinstance(one, ast.stmt) else _in_handler(one))]


def _in_handler(handler: ast.excepthandler) -> list[ast.stmt]:
    return (
        [found for part in handler.body for found in _defined(part)] if isinstance(handler, ast.ExceptHandler) else []
    )


def _takes_three(arguments: ast.arguments) -> bool:
    """Whether it can be called with three arguments by their places."""
    named = len(arguments.posonlyargs) + len(arguments.args)
    asked_by_name = [default for default in arguments.kw_defaults if default is None]
    return (
        not asked_by_name
        and named - len(arguments.defaults) <= len(ARGUMENTS)
        and (named >= len(ARGUMENTS) or arguments.vararg is not None)
    )


class OwnGrader:
    """Asks one, in a thread and a process of its own. First `start` it; `close` ends both, a call under way too."""

    def __init__(self, name: str, settings: Own) -> None:
        self.key = f"own {settings.key}"
        self._name, self._settings = name, settings
        first = json.dumps([settings.python, settings.source, settings.timeout_s]).encode()
        environment = {**os.environ, "PYTHONHASHSEED": "0"}  # the order of sets must decide nothing
        self._child = Child(PROCESS, first, env=environment)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"perseid-grader-{name}")
        self._closed, self._calls = False, 0
        self._told: set[str] = set()  # kinds of faults that were told of

    def start(self) -> None:
        """Load it. Raises `UserError` where that fails: then it could tell of no answer."""
        try:
            ready = json.loads(self._child.start() or b"{}")
        except NotStarted as why:
            raise self._unusable(str(why)) from None
        if "fault" in ready:
            raise self._unusable(ready["reason"])

    def _unusable(self, why: str) -> UserError:
        where = f"graders.{self._name}.python"
        return UserError(self._settings.python, where, f"expected a grader that can be loaded: {printable(why)}")

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        loop = asyncio.get_running_loop()
        found: list[Verdict] = []
        for _, group in itertools.groupby(asked, key=lambda each: each.problem.problem_id):
            of_one = list(group)
            found += await loop.run_in_executor(self._thread, self._verdicts, of_one)
        return found

    def close(self) -> None:
        self._closed = True
        self._child.close()
        self._thread.shutdown(wait=True)

    def _verdicts(self, asked: Sequence[Asked]) -> list[Verdict]:
        """Of answers to one problem."""
        said = self._said(asked)
        if "values" in said:
            return [self._verdict(value) for value in said["values"]]
        if len(asked) > 1:
            return [verdict for each in asked for verdict in self._verdicts([each])]
        self._tell(said["fault"], said["reason"])
        return [None]

    def _said(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """Its values, or its fault with the reason."""
        if self._closed:
            return {"fault": "closed", "reason": "it was closed"}
        problem, gold, _ = asked[0]
        self._calls += 1
        try:
            line = json.dumps([self._calls, problem.question, gold.answer, [each.answer for each in asked]]).encode()
            said = json.loads(self._child.ask(line, self._settings.timeout_s))
        except Lost as why:
            return {"fault": "lost", "reason": str(why)}
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict) and said.get("call") == self._calls:
            return said
        self._child.close()  # whatever it says next would be taken for the next call's
        return {"fault": "answer", "reason": "it wrote something else on the line of its answers"}

    def _verdict(self, value: Any) -> Verdict:
        if isinstance(value, str):
            self._tell("value", value)
        return value >= self._settings.right_from if isinstance(value, int | float) else None

    def _tell(self, fault: str, reason: str) -> None:
        """In the log, each kind of fault once."""
        if fault not in self._told and not self._closed:
            self._told.add(fault)
            told = (
                "graders.%s: of an answer it cannot be told whether it is right: %s. What fails alike is only counted"
            )
            logging.getLogger(__name__).warning(told, self._name, printable(reason))
