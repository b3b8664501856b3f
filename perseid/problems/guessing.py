"""What a file of problems seems to hold: which column asks, which one knows, how answers are to be compared.

A guess from the first rows, for a person to look at and to change: nothing of it is used when an experiment runs. Names
of columns come first, as data sets in use have them; where they say nothing, what the columns hold decides.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from perseid.errors import UserError

Row = Mapping[str, Any]
ASKS: Final = ("question", "problem", "prompt", "query", "input", "instruction", "text", "q")
KNOWS: Final = (
    *("final_answer", "answer", "gold", "target", "expected_answer", "answerkey", "answer_key", "correct_answer"),
    *("correct", "label", "expected", "output", "solution", "response"),
)
NAMES: Final = ("id", "problem_id", "task_id", "question_id", "uid", "unique_id", "idx", "index")
GROUPS: Final = ("subject", "level", "type", "category", "difficulty", "topic", "domain", "source", "grade", "split")
OPTIONS: Final = tuple("ABCDEFGH")
MARKERS: Final = ("####", "Final answer:", "The answer is", "Answer:")
TESTS: Final = ("tests", "test", "test_list")
ENTRY: Final = ("entry_point", "function", "fn_name")
PLAIN: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+|\d+/\d+)", re.ASCII)  # what the kind number can read
NUMERAL: Final = re.compile(r"[-+]?\$?\d[\d,]*(\.\d+)?%?|[-+]?\d+/\d+")
LATEX: Final = re.compile(r"\\[a-zA-Z]+|[_^{}$]|[0-9a-z]\s*[-+*/=]\s*[0-9a-z(]")
BOOLEANS: Final = {"yes", "no", "true", "false"}
MOST: Final = 0.9  # share of the rows from which on something is taken to hold
LONG: Final = 40  # characters: a longer gold is a worked solution, not an answer


@dataclass(frozen=True)
class Guess:
    """Columns by what they are for, the kind of the answers, what stands before them, and why.

    columns: the gold is a mapping where several columns make it. template: of Jinja, where several make the question.
    numeric: the answers are numbers, however they are written. unsure: what a person should look at.
    """

    columns: Mapping[str, str | Mapping[str, str]]
    kind: str
    gold_after: str = ""
    template: str = ""
    facets: tuple[str, ...] = ()
    numeric: bool = False
    unsure: tuple[str, ...] = ()


def guessed(rows: Sequence[Row], path: str) -> Guess:
    """What `rows`, the first of a file, seem to hold. Raises `UserError` naming `path` where nothing asks or knows."""
    present = [name for name in dict.fromkeys(name for row in rows for name in row) if _share(rows, name, bool) > 0]
    options = [name for name in OPTIONS if name in present]
    gold = _named(present, KNOWS) or _shortest(rows, present)
    asks = _named([name for name in present if name != gold], ASKS) or _longest(rows, present, {gold, *options})
    if tests := _tests(present):
        asks, gold = asks or _named(present, ASKS), gold or "test"
    if not asks or not gold:
        expected = f"expected a column that asks and one that knows the answer, found {', '.join(present) or 'none'}"
        raise UserError(path, "columns", expected)
    columns: dict[str, str | Mapping[str, str]] = {"question": asks, "gold": tests or gold}
    if (name := _named(present, NAMES)) and len({str(row.get(name)) for row in rows}) == len(rows):
        columns["id"] = name
    facets = tuple(name for name in present if name.lower() in GROUPS and name not in columns.values())
    if tests:
        return Guess(columns, "code", facets=facets)
    marker = next((mark for mark in MARKERS if _share(rows, gold, _holds(mark)) >= MOST), "")
    golds = [text.rpartition(marker)[2].strip() if marker else text for text in map(_text, _values(rows, gold))]
    kind = kind_of(golds)
    if len(options) >= 2 and kind in ("choice", "text"):
        if not asks.isidentifier():
            told = f"{', '.join(options)} are not told: a template names columns, and {asks!r} is no name in Jinja"
            return Guess(columns, "choice", facets=facets, unsure=(told,))
        shown = "".join(f"\n{name}) {{{{ {name} }}}}" for name in options)
        return Guess(columns, "choice", "", f"{{{{ {asks} }}}}{shown}", facets)
    unsure = _doubts(golds, gold, kind)
    numeric = bool(golds) and sum(bool(NUMERAL.fullmatch(text)) for text in golds) >= MOST * len(golds)
    return Guess(columns, kind, marker, "", facets, numeric, unsure)


def kind_of(golds: Sequence[str]) -> str:
    """The kind of answer that nearly all of `golds` are: boolean, choice, math, else text; number where all are plain.

    One with thousands grouped, a unit of money or a percentage among them is for the kind math to read.
    """
    tests: tuple[tuple[str, Callable[[str], Any]], ...] = (
        ("boolean", lambda text: text.lower() in BOOLEANS),
        ("choice", lambda text: re.fullmatch(r"\(?[A-H]\)?\.?", text)),
        ("math", lambda text: NUMERAL.fullmatch(text) or LATEX.search(text)),
    )
    if golds and all(map(PLAIN.fullmatch, golds)):
        return "number"
    for kind, test in tests:
        if golds and sum(bool(test(text)) for text in golds) >= MOST * len(golds):
            return kind
    return "text"


def _tests(present: Sequence[str]) -> Mapping[str, str]:
    """The gold of programs, if the columns have one: tests, and the function that they call."""
    tests, entry = _named(present, TESTS), _named(present, ENTRY)
    if tests and (entry or tests == "test_list"):
        return {"tests": tests, "entry_point": entry} if entry else {"tests": tests}
    return {}


def _doubts(golds: Sequence[str], column: str, kind: str) -> tuple[str, ...]:
    longest = max(map(len, golds), default=0)
    if kind in ("text", "math") and longest > LONG:
        return (f"{column} has answers of up to {longest:,} characters: is it a worked solution (gold_after)?",)
    return ()


def _holds(marker: str) -> Callable[[str], bool]:
    return lambda text: marker in text


def _named(present: Sequence[str], known: Sequence[str]) -> str:
    by_name = {name.lower(): name for name in reversed(present)}
    return next((by_name[name] for name in known if name in by_name), "")


def _shortest(rows: Sequence[Row], present: Sequence[str]) -> str:
    """Of two columns that have no name in use, the one with the shorter texts."""
    return min(present, key=lambda name: _length(rows, name)) if len(present) == 2 else ""


def _longest(rows: Sequence[Row], present: Sequence[str], others: set[str]) -> str:
    texts = [name for name in present if name not in others and any(isinstance(row.get(name), str) for row in rows)]
    return max(texts, key=lambda name: _length(rows, name), default="")


def _length(rows: Sequence[Row], name: str) -> float:
    texts = [_text(value) for value in _values(rows, name)]
    return sum(map(len, texts)) / max(1, len(texts))


def _share(rows: Sequence[Row], name: str, test: Callable[[str], Any]) -> float:
    return sum(bool(test(_text(value))) for value in _values(rows, name)) / max(1, len(rows))


def _values(rows: Sequence[Row], name: str) -> list[Any]:
    return [row[name] for row in rows if row.get(name) is not None]


def _text(value: Any) -> str:
    return str(value).strip()
