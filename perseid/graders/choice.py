"""Choice: kind `choice`. The option that is named, or all of several.

A gold is a letter (`B`; `AC`, `A, C` or a list for several) or, with the options' texts, `{answer: B, options: {A: red,
B: blue}}`; options may be a list, and the answer a letter, the text of one, or its place counted from 0; where labels
are digits a number is a label. A label is a letter, or a digit from 1 on.

An answer names a label in whatever dress (`(B)`, `b.`, `**B**`, `B) blue`, `Option B`), several joined by commas or
"and", or is the text of an option where these are known. What says two things (`C, not B`; `B) red` where red is A; a
letter and a remark with "not" in it), and what has words that are no option, is wrong. The order of several, and one
that is named twice, do not count.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from perseid.graders.grader import Comparison, Verdict
from perseid.wrapped import bare

MAX_LENGTH: Final = 4096  # characters of an answer
LABEL: Final = r"[A-Za-z1-9]"
NAMED: Final = re.compile(rf"(?:(?:option|choice|answer)\s+)?[(\[]?\s*({LABEL})\s*[)\].:]*", re.IGNORECASE)
WITH_TEXT: Final = re.compile(
    rf"(?:(?:option|choice|answer)\s+)?(?:[(\[]\s*({LABEL})\s*[)\]][.:]?|({LABEL})\s*[).:])\s+(\S.*)", re.I | re.S
)
SEVERAL: Final = re.compile(r"\s*(?:,\s*and\b|,|;|&|\band\b)\s*", re.IGNORECASE)
TAKEN_BACK: Final = re.compile(r"\b(?:not|no|never|neither|nor|or|except|but|and)\b|n't\b", re.IGNORECASE)
WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full width letters, digits and marks
Labels = frozenset[str]


@dataclass(frozen=True)
class Right:
    """The labels that are right, and the options' texts by label, where these are known."""

    labels: Labels
    options: Mapping[str, str]


def right_of(gold: Any) -> Right | None:
    """None where it is no gold of this kind."""
    given = gold.get("options", {}) if isinstance(gold, dict) else {}
    options = given if isinstance(given, dict) else _lettered(given)
    if not all(isinstance(text, str) and re.fullmatch(LABEL, label) for label, text in options.items()):
        return None
    known = {label.upper(): _plain(text) for label, text in options.items()}
    if len(known) < len(options):
        return None  # `a` and `A` are one label
    answer = gold.get("answer") if isinstance(gold, dict) else gold
    labels = _labels_of_gold(answer, known)
    return Right(labels, known) if labels and (not known or labels <= {*known}) else None


def _lettered(options: Any) -> dict[str, Any]:
    texts = options if isinstance(options, list) and len(options) <= 26 else [None]
    return {chr(ord("A") + place): text for place, text in enumerate(texts)}


def _labels_of_gold(answer: Any, options: Mapping[str, str]) -> Labels:
    if isinstance(answer, list):
        each = [_labels_of_gold(one, options) for one in answer]
        return frozenset().union(*each) if all(each) else frozenset()
    if isinstance(answer, int) and not isinstance(answer, bool):
        places = [*options]
        if any(map(str.isdigit, places)):  # a label, where labels are digits
            return frozenset({str(answer)} & {*places})
        return frozenset([places[answer]] if 0 <= answer < len(places) else [])
    return labels_in(answer, options, several=True) if isinstance(answer, str) else frozenset()


def labels_in(text: str, options: Mapping[str, str], several: bool) -> Labels:
    """The labels that a text names and nothing beside; none where it says something else.

    several: a run of capital letters is as many labels.
    """
    said = bare(text.translate(WIDE))
    if labels := _of_an_option(said, options):
        return labels
    if whole := NAMED.fullmatch(said):
        return frozenset([whole[1].upper()])
    if several and re.fullmatch(r"[A-Z]{2,26}", said):
        return frozenset(said)
    named = [NAMED.fullmatch(part) for part in SEVERAL.split(said)]
    if all(named):
        return frozenset(each[1].upper() for each in named if each)
    return _with_text(said, options)


def _of_an_option(said: str, options: Mapping[str, str]) -> Labels:
    """Of the option that has this text, if one has."""
    found = [label for label, text in options.items() if text == _plain(said)]
    return frozenset(found if len(found) == 1 and _plain(said) else [])


def _with_text(said: str, options: Mapping[str, str]) -> Labels:
    """Of a letter in its dress before a text: the option's where it is known, else one that takes nothing back."""
    found = WITH_TEXT.fullmatch(said)
    if found is None:
        return frozenset()
    label, text = (found[1] or found[2]).upper(), found[3]
    fits = options.get(label) == _plain(text) if options else not TAKEN_BACK.search(text) and not _names(text)
    return frozenset([label] if fits else [])


def _names(text: str) -> bool:
    """Whether it names another option in passing."""
    return re.search(rf"[(\[]{LABEL}[)\]]|\b[B-HJ-Z]\b[).:]?", text) is not None


def _plain(text: str) -> str:
    return " ".join(bare(text).casefold().split())


def compare(answer: str, gold: Any) -> Verdict:
    right = right_of(gold)
    if right is None:
        return None
    if len(answer) > MAX_LENGTH:
        return False
    return labels_in(answer, right.options, several=len(right.labels) > 1) == right.labels


GRADERS: Final = {"choice": Comparison("choice 2", compare)}
