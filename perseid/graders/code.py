"""Code: kind `code`. The answer is a program or a function, the gold what it must do; all of it runs in the sandbox.

The gold is JSON:

| keys | the answer is right where |
|---|---|
| `tests`, `entry_point` | the tests end; they call the function by its name or as `candidate`; `check` gets it |
| `tests`: a list of asserts, or the list alone | each holds; the entry point is the first function they call |
| `inputs`, `outputs`, `entry_point` | the function returns each output for the arguments beside it |
| `inputs`, `outputs` | the program prints each output for the text it is given, spaces at ends of lines apart |

Beside them: `setup` stands before the tests; `prefix` before an answer that does not define the entry point (its first
lines before any other); `solution` is an answer that must be right, or nothing can be told of any. The tests' process
holds no generated code, which never sees them (docs/sandbox.md). What fails, leaves, crashes or does not end in time is
wrong. Nothing can be told where a call carries what is no plain data, the gold cannot be read, or its tests need a
module that the sandbox lacks. A sandbox that fails stops the run.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
import json
import logging
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from perseid.graders.grader import Asked, Verdict
from perseid.sandbox import Execution, Grade, Limits, SandboxFailure
from perseid.sandbox.sandbox import PRELOAD

KEY: Final = "code 1"
KEYS: Final = frozenset({"tests", "entry_point", "inputs", "outputs", "setup", "prefix", "solution"})
MODULES: Final = sys.stdlib_module_names | {*PRELOAD}  # what tests may import
FENCED: Final = re.compile(r"\s*```[^\n`]*\n(.*?)\n?```\s*", re.DOTALL)
LIMITS: Final = Limits()
PAIRS: Final = """
def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return {{key: _plain(one) for key, one in value.items()}} if isinstance(value, dict) else value
for _arguments, _expected in {pairs}:
    assert _plain({entry_point}(*_arguments)) == _expected, (_arguments, _expected)
"""


class Runs(Protocol):
    """Runs programs, and functions apart from their tests. `perseid.sandbox.AsyncSandbox` is one."""

    async def grade(self, code: str, entry_point: str, tests: str) -> Grade: ...

    async def run(self, code: str, stdin: str = "") -> Execution: ...


@dataclass(frozen=True)
class Task:
    """What a gold asks. pairs: of programs, what each reads and prints; else `tests` are run."""

    tests: str = ""
    entry_point: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    solution: str = ""


def task_of(gold: Any) -> Task:
    """Raises `ValueError` saying what is wrong with a gold."""
    found = _keys_of(gold)
    texts = {name: _text(found, name) for name in ("entry_point", "setup", "prefix", "solution")}
    task = Task(prefix=texts["prefix"], solution=texts["solution"])
    if "tests" in found:
        tests, entry_point = _tests(found["tests"], texts["setup"], texts["entry_point"])
        return replace(task, tests=tests, entry_point=entry_point)
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs) or not inputs:
        raise ValueError("expected tests, or as many inputs as outputs")
    if not texts["entry_point"]:
        if not all(isinstance(text, str) for text in (*inputs, *outputs)):
            raise ValueError("expected texts as inputs and outputs, or an entry_point")
        return replace(task, pairs=tuple(zip(inputs, outputs, strict=True)))
    if not all(isinstance(arguments, list) for arguments in inputs):
        raise ValueError("expected a list of arguments as each input")
    pairs = repr([*zip(inputs, outputs, strict=True)])
    entry_point = _named(texts["entry_point"])
    tests = texts["setup"] + PAIRS.format(pairs=pairs, entry_point=entry_point)
    return replace(task, tests=tests, entry_point=entry_point)


def _keys_of(gold: Any) -> dict[str, Any]:
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except (ValueError, RecursionError):
            gold = {"tests": gold}
    found = {"tests": gold} if isinstance(gold, list) else gold
    if not isinstance(found, dict):
        raise ValueError("expected tests")
    if unknown := sorted({*found} - KEYS):
        raise ValueError(f"expected no key but {', '.join(sorted(KEYS))}, found {unknown[0]}")
    return found


def _text(found: dict[str, Any], name: str) -> str:
    value = found.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"expected a text as {name}")
    return value


def _named(entry_point: str) -> str:
    if not entry_point.isidentifier():
        raise ValueError("expected the name of a function as entry_point")
    return entry_point


def _tests(tests: Any, setup: str, entry_point: str) -> tuple[str, str]:
    """Their source and the function they are about."""
    each = tests if isinstance(tests, list) else [tests]
    if not each or not all(isinstance(test, str) and test.strip() for test in each):
        raise ValueError("expected a text or a list of texts as tests")
    source = "\n".join([setup, *each]) if setup else "\n".join(each)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected tests in Python ({error})") from None
    if missing := sorted({name for name in _imported(tree) if name not in MODULES}):
        raise ValueError(f"expected tests that import what the sandbox has, found {missing[0]}")
    return source, _named(entry_point or _first_called(tree))


def _imported(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        found += [name.partition(".")[0] for name in names]
    return found


def _first_called(tree: ast.Module) -> str:
    """Of the functions that tests call and do not define, import or find built in; "" for none."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    bound |= {(alias.asname or alias.name).partition(".")[0] for node in imports for alias in node.names}
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    calls = sorted(calls, key=lambda name: (name.lineno, name.col_offset))
    return next((name.id for name in calls if name.id not in bound and not hasattr(builtins, name.id)), "")


class Code:
    """Runs answers in a sandbox, those to one problem side by side."""

    key: Final = KEY

    def __init__(self, sandbox: Runs) -> None:
        self._sandbox = sandbox
        self._right: dict[Task, bool] = {}  # whether its own solution is right
        self._told = False

    async def grade(self, asked: Sequence[Asked]) -> list[Verdict]:
        return list(await asyncio.gather(*(self._verdict(each) for each in asked)))

    async def _verdict(self, asked: Asked) -> Verdict:
        try:
            task = task_of(asked.gold.answer)
        except ValueError as why:
            return self._cannot(asked, str(why))
        if task.solution and not await self._holds(task):
            return self._cannot(asked, "its solution does not pass")
        return await self._passes(task, asked.answer)

    async def _holds(self, task: Task) -> bool:
        if task not in self._right:
            self._right[task] = await self._passes(task, task.solution) is True
        return self._right[task]

    def _cannot(self, asked: Asked, why: str) -> Verdict:
        if not self._told:
            self._told = True
            told = "the gold of %s cannot be used, so nothing is told of its answers: %s. Others alike are only counted"
            logging.getLogger(__name__).warning(told, asked.problem.problem_id, why)
        return None

    async def _passes(self, task: Task, answer: str) -> Verdict:
        code = program(task, answer)
        if task.pairs:
            return await self._prints(code, task.pairs)
        grade = await self._sandbox.grade(code, task.entry_point, task.tests)
        if grade.verdict == "sandbox_error":
            raise SandboxFailure(f"the sandbox failed: {grade.reason}")
        if grade.verdict == "unsplittable" or (grade.verdict == "refused" and not _too_long(code)):
            return None
        return grade.passed

    async def _prints(self, code: str, pairs: Sequence[tuple[str, str]]) -> Verdict:
        """What a program wrote counts where it ended well, by `sys.exit` too."""
        for given, expected in pairs:
            done = await self._sandbox.run(code, given)
            if done.status == "sandbox_error":
                raise SandboxFailure(f"the sandbox failed: {done.error}")
            if done.status == "refused" and not _too_long(code):
                return None
            ended = done.status == "ok" or (done.status == "exited" and done.exit_code == 0)
            if not ended or _lines(done.stdout) != _lines(expected):
                return False
        return True


def _too_long(code: str) -> bool:
    return len(code.encode("utf-8", "replace")) > LIMITS.code_bytes


def program(task: Task, answer: str) -> str:
    """The answer's code, with what belongs before it."""
    if fenced := FENCED.fullmatch(answer):
        answer = fenced[1]
    if not task.prefix:
        return textwrap.dedent(answer)
    defined = re.compile(rf"^(?:async\s+)?def\s+{re.escape(task.entry_point)}\b", re.MULTILINE)
    if task.entry_point and defined.search(answer):
        head = defined.search(task.prefix)
        return f"{task.prefix[: head.start()] if head else task.prefix}\n{answer}"
    return task.prefix + answer


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]
