"""Whether a program is about its question: it computes what it prints from numbers that the question names.

Among right programs of a small model some were right by chance: they print a number of the question, or one that stands
nowhere. Asked of the program's text alone, so it costs nothing. For programs that spell their numbers out: one that
reads them out of the question, by a tool say, has no literals and passes. Not covered: which numbers are computed with
what; a question whose answer needs a number that it does not name (days of a week) loses its right programs.
"""

import ast
import re
from typing import Final

WORDS: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+")
SAME: Final = {"int", "float", "str", "round", "print", "abs"}  # calls that compute nothing new


def is_grounded(code: str, question: str) -> bool:
    """Whether every number in `code` stands in `question`, and what it prints last depends on an operation.

    False for code that is no Python.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return numbers_in(tree) <= numbers_of(question) and _computes(tree)


def numbers_of(question: str) -> set[float]:
    """Written in digits, with or without commas, or in words up to twenty."""
    digits = {float(found.replace(",", "")) for found in NUMBER.findall(question)}
    words = set(re.findall(r"[a-z]+", question.lower()))
    return digits | {float(value) for value, word in enumerate(WORDS) if word in words}


def numbers_in(tree: ast.AST) -> set[float]:
    """The literals of a program, whatever their sign."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)}


def final_operation(code: str) -> str:
    """The operation that makes what a program prints last, as Python's syntax calls it ("Sub"); "" where there is none.

    Of a name, that of what it was last assigned; what a call makes is called after the function.
    """
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    assigned, last = dict[str, str](), ""
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                assigned[name] = _operation(value, assigned)
            case ast.AugAssign(target=ast.Name(id=name), op=op):
                assigned[name] = type(op).__name__
            case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[value, *_])):
                last = _operation(value, assigned)
    return last


def _operation(value: ast.expr, assigned: dict[str, str]) -> str:
    match value:
        case ast.BinOp(op=op):
            return type(op).__name__
        case ast.Name(id=name):
            return assigned.get(name, "")
        case ast.Call(func=ast.Name(id=name), args=args):
            return name if name not in SAME else _operation(args[0], assigned) if args else ""
    return ""


def _computes(tree: ast.Module) -> bool:
    """Whether the last printed value rests on an operation, here or in what was assigned before."""
    computed, last = set[str](), False
    for statement in tree.body:
        operates = _operates(statement, computed)
        for target in _targets(statement):
            (computed.add if operates else computed.discard)(target)
        if any(_is_call(node, {"print"}) for node in ast.walk(statement)):
            last = operates
    return last


def _operates(node: ast.AST, computed: set[str]) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, ast.BinOp | ast.AugAssign) or (isinstance(inner, ast.Call) and not _is_call(inner, SAME)):
            return True
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load) and inner.id in computed:
            return True
    return False


def _targets(statement: ast.stmt) -> set[str]:
    stored = (node for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    return {name.id for name in stored}


def _is_call(node: ast.AST, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names
