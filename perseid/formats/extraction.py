"""How an answer is found in a text: named rules, tried in order; a text in which none finds one has no answer.

| rule | finds |
|---|---|
| `program` | what the last program printed |
| `boxed` | the last `\\boxed{}` or `\\fbox{}` that is not empty; boxes joined by a comma or "and" are one answer |
| `{after: "####"}` | what follows this mark where it stands last, to the end of the line |
| `answer_tag` | what stands in the last `<answer>…</answer>` |
| `the_answer_is` | what follows the last "the answer is", "final answer:" and the like, to the end of the sentence |
| `json` | the value of `answer` in the last JSON object that has one |
| `code` | the last fenced block |
| `last_number` | the last number, without the commas of its groups |
| `last_letter` | the last option named by its letter, as in `(B)`; those joined by a comma or "and" are one answer |
| `last_line` | the last line |
| `last_formula` | the last line where it is nothing but mathematics, or a value in bold |

Rules see a completion alone, never the prompt, and of it only what answers: not what stands before the end of its
thinking (thinking without an end answers nothing), nor what follows where it makes up another turn or question. A text
that was cut by its length counts only where the answer's own mark is closed: what lacks its end may be another answer.
A box that is not closed takes back the ones before it, and "the answer is not 5" is no answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from perseid import wrapped
from perseid.mistakes import mistake, shown, unknown
from perseid.section import Section

VERSION: Final = "1"  # raised by hand when a rule comes to find another answer
MAX_SENTENCE: Final = 4096  # characters
MAX_LENGTH: Final = 200_000  # characters of a completion; a longer one has no answer


class After(Section):
    """A mark after which the answer stands."""

    after: Annotated[str, Field(min_length=1, max_length=1000)]


Rule = str | After


def rules_of(value: Any) -> tuple[Rule, ...]:
    """A rule or a list of them, as an experiment file has it. Raises what names a rule that nobody knows."""
    if not isinstance(value, list | tuple):
        return (_rule(value, ""),)
    if not value:
        raise mistake("", f"expected at least one rule of {', '.join(KNOWN)}")
    return tuple(_rule(one, str(number)) for number, one in enumerate(value, 1))


def _rule(value: Any, key: str) -> Rule:
    if isinstance(value, After):
        return value
    if (
        isinstance(value, dict)
        and set(value) == {"after"}
        and isinstance(value["after"], str)
        and value["after"].strip()
    ):
        return After(after=value["after"])
    if isinstance(value, str) and value not in KNOWN[:-1]:
        raise mistake(key, unknown(value, KNOWN))
    if not isinstance(value, str):
        raise mistake(key, f"expected one of {', '.join(KNOWN)}, found {shown(value)}")
    return value


Rules = Annotated[tuple[Rule, ...], BeforeValidator(rules_of)]  # of a field of a section


def extract(text: str, rules: Sequence[Rule], *, cut: bool = False, printed: str = "") -> str | None:
    """The answer that the first rule finds that finds one, without what merely wraps it; None: no answer.

    cut: the text was ended by its length. printed: the output of its last program.
    """
    if len(text) > MAX_LENGTH:
        return None
    said, ended = _said(text)
    for rule in rules:
        if found := _found(rule, said, cut and not ended, "" if cut else printed):
            return found
    return None


def _found(rule: Rule, said: str, cut: bool, printed: str) -> str:
    if isinstance(rule, After):
        return _after(said, cut, rule.after)
    return printed.strip() if rule == "program" else IN_TEXT[rule](said, cut)


THOUGHT: Final = re.compile(r"</think(?:ing)?>|<\|channel\|>\s*final\s*<\|message\|>")
THINKING: Final = re.compile(r"<think(?:ing)?>|<\|channel\|>")
TURN: Final = re.compile(
    r"<\|(?:im_start|im_end|start_header_id|eot_id|endoftext|end|user|assistant|return)\|>|</s>|<(?:start|end)_of_turn>"
    r"|^[ \t]*(?:[#*]+[ \t]*)?(?:Problem|Question|User|Human)(?:[ \t]*\d+)?(?:[*]*[ \t]*:|[ \t]*\n)",
    re.MULTILINE,
)


def _said(text: str) -> tuple[str, bool]:
    """The part of a text that may hold its answer, and whether more stands behind that part."""
    thoughts = [match.end() for match in THOUGHT.finditer(text)]
    said = text[thoughts[-1] if thoughts else 0 :].replace("\r\n", "\n").replace("\x03", "\n")
    if THINKING.search(said):
        return "", False
    turns = (turn.start() for turn in TURN.finditer(said) if said[: turn.start()].strip())
    end = next(turns, len(said))
    return said[:end], end < len(said)


BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*\{")
MAX_JOINT: Final = 40  # characters between answers that are one
JOINED: Final = re.compile(r"[\s$,;]*(?:,|\band\b|\\text\{\s*and\s*\})[\s$,;]*")


def _boxed(text: str, cut: bool) -> str:
    """Those of one sentence that are joined are one; a cut text has a whole last box or none."""
    boxes: list[tuple[int, int, str]] = []  # start, end, what stands in it
    braces, at = wrapped.braces(text), 0
    while box := BOX.search(text, at):
        if (end := braces.get(box.end() - 1)) is None:
            return ""
        at = end + 1
        if inside := wrapped.bare(text[box.end() : end]):
            boxes.append((box.start(), at, inside))
    if not boxes:
        return ""
    answer = [boxes[-1][2]]
    for (_, before, inside), (start, _, _) in zip(boxes[-2::-1], boxes[:0:-1], strict=True):
        if start - before > MAX_JOINT or not JOINED.fullmatch(text[before:start]):
            break
        answer.insert(0, inside)
    return ", ".join(answer)


def _after(text: str, cut: bool, mark: str) -> str:
    """On the mark's line or, where it is empty, on the next that is not; where the text was cut, a whole line."""
    at = len(text)
    while (at := text.rfind(mark, 0, at)) != -1:
        line, end, _ = text[at + len(mark) : at + len(mark) + MAX_SENTENCE].lstrip().partition("\n")
        if cut and not end:
            return ""
        if found := wrapped.bare(line):
            return found
    return ""


TAG: Final = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)


def _answer_tag(text: str, cut: bool) -> str:
    *_, last = ["", *TAG.findall(text)]
    return wrapped.bare(last)


MARK: Final = re.compile(
    r"(?:\b(?:final|correct|right)\s+answer|\banswer)s?\b[*_]*\s*"
    r"(?:(?:to\s+(?:the|this)\s+(?:problem|question)\s+)?(?:is|are|would\s+be)\b[*_]*\s*(?:thus|therefore|then)?\s*:?|[:=])"
    r"|^[#* ]*(?:final\s+)?answer[* ]*$",
    re.IGNORECASE | re.MULTILINE,
)
NEGATED: Final = re.compile(r"[*_\s]*(?:not\b|n't\b|never\b|neither\b|unknown\b|unclear\b|wrong\b|incorrect\b)", re.I)
REASON: Final = re.compile(
    r",?\s+(?:because|since)\b|,\s+(?:as|so|which|where|and so|not|but)\b|\s+—\s|\s+\((?:since|as|not)\b", re.I
)
DISPLAY: Final = {r"\[": r"\]", "$$": "$$"}


def _the_answer_is(text: str, cut: bool) -> str:
    for mark in reversed(list(MARK.finditer(text))):
        rest = text[mark.end() :]
        if NEGATED.match(rest):
            continue
        sentence = _sentence(rest, cut)
        if found := wrapped.bare(REASON.split(sentence, maxsplit=1)[0].strip(" \t\n*:,;")):
            return found
        if found := wrapped.bare(sentence):
            return found
    return ""


def _sentence(rest: str, cut: bool) -> str:
    """To the end of the first sentence, display or line; "" where a cut text leaves it open."""
    rest = rest.lstrip(" \t\n*_:")[:MAX_SENTENCE]
    for opening, closing in DISPLAY.items():
        if rest.startswith(opening) and (end := rest.find(closing, len(opening))) != -1:
            return rest[: end + len(closing)]
    for end in wrapped.outside(rest):
        follows = rest[end + 1 : end + 2]
        if rest[end] == "\n" or (
            rest[end] in ".!?" and (follows.isspace() or follows == "*" or (not follows and not cut))
        ):
            return rest[:end]
    return "" if cut else rest


MOST_OBJECTS: Final = 200  # the last ones


def _json(text: str, cut: bool) -> str:
    """Of the last object that can be read and has the key; a text, a number, true or false."""
    decoder, end, answer = json.JSONDecoder(), 0, ""
    for start in [match.start() for match in re.finditer(r"\{", text)][-MOST_OBJECTS:]:
        if start >= end:
            try:
                value, end = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                continue
            answer = _as_text(value.get("answer")) or answer
    return answer


def _as_text(value: Any) -> str:
    return (
        value.strip() if isinstance(value, str) else json.dumps(value) if isinstance(value, bool | int | float) else ""
    )


FENCE: Final = re.compile(r"^[ \t]*```([^`\n]*)$", re.MULTILINE)


def _code(text: str, cut: bool) -> str:
    """Fences come in pairs; the last pair's block, without a comment on its language."""
    fences = list(FENCE.finditer(text))
    pairs = [*zip(fences[::2], fences[1::2], strict=False)]
    return text[pairs[-1][0].end() : pairs[-1][1].start()].strip("\n") if pairs else ""


NUMBER: Final = re.compile(r"(?<![\w.])[-+\u2212]?\$?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+|/\d+)?|\.\d+)(?!\w)")


def _last_number(text: str, cut: bool) -> str:
    *_, last = ["", *NUMBER.findall(text)]
    return "" if cut else last.translate({ord(","): "", ord("$"): "", 0x2212: "-"})


LETTER: Final = re.compile(
    r"(?<![\w'])(?:[(\[]([A-Za-h])[)\]]|\*\*\(?([A-Z])[).:]?\*\*|(?<!\()([A-HJ-Z])(?=\)|[.:,;!?]?(?:\s*$|\s+(?:and|or)\b)|[.,;!?]\s|:))",
    re.MULTILINE,
)
TAKEN_BACK: Final = re.compile(
    r"(?:\bnot|n't|\bneither|\bnor|\bexcept|\brather than)\s+(?:option\s+|choice\s+|be\s+)?[(\[*]*$", re.I
)
EITHER: Final = re.compile(r"[)\]*]*,?\s*or\s*[(\[*]*", re.IGNORECASE)
SEVERAL: Final = re.compile(r"[)\]*]*\s*(?:,|,?\s*and|&)\s*[(\[*]*", re.IGNORECASE)


def _last_letter(text: str, cut: bool) -> str:
    answer: list[re.Match[str]] = []
    for named in reversed(list(LETTER.finditer(text))):
        between = text[named.end() : answer[0].start()][: MAX_JOINT + 1] if answer else ","
        if EITHER.fullmatch(between):
            return ""
        if len(between) > MAX_JOINT or not SEVERAL.fullmatch(between):
            break
        if not TAKEN_BACK.search(text[max(0, named.start() - MAX_JOINT) : named.start()]):
            answer.insert(0, named)
        elif answer:
            break
    letters = [next(filter(None, named.groups())) for named in answer]
    return "" if cut else ", ".join(dict.fromkeys(letters))


def _last_line(text: str, cut: bool) -> str:
    lines = [line for line in text.split("\n") if line.strip()]
    return "" if cut or not lines else wrapped.bare(lines[-1])


PROSE: Final = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{2,}")


def _last_formula(text: str, cut: bool) -> str:
    """Words make no mathematics, but for those that are commands or stand in one."""
    *_, last = ["", *(line.strip() for line in text.split("\n") if line.strip())]
    found = _last_line(text, cut)
    bold = last.startswith("**") and last.endswith("**") and last.count("**") == 2
    return found if bold or not PROSE.search(re.sub(r"\\(?:text|mathrm|operatorname)\s*\{[^{}]*\}", "", last)) else ""


IN_TEXT: Final[dict[str, Callable[[str, bool], str]]] = {
    "boxed": _boxed,
    "answer_tag": _answer_tag,
    "the_answer_is": _the_answer_is,
    "json": _json,
    "code": _code,
    "last_number": _last_number,
    "last_letter": _last_letter,
    "last_line": _last_line,
    "last_formula": _last_formula,
}
KNOWN: Final = ("program", *IN_TEXT, "{after: …}")
