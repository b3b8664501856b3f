"""Word problems for `experiments/smollm2.yaml`: SVAMP with the story that each problem varies, and what solves it.

    python -m experiments.smollm2.prepare svamp.json data/svamp.jsonl

Reads a list of objects with `problem` and `solution` (a number). SVAMP tells some ninety stories, each in about eleven
variations, so a random split puts nearly every held-out story into training. `story` numbers them, for splits and
intervals by story; `operation` is the one of two numbers of the question that gives the answer, or "other".

Stories are found by words: two problems belong together if the words they share weigh at least 0.35 of all their words,
a word weighing log(problems / problems with it), and groups are closed under that.
"""

import argparse
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

ALIKE: Final = 0.35  # least share of common words, by weight, of two variations of a story
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def prepared(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """question, answer, story and operation of each row, in their order."""
    questions = [" ".join(str(row["problem"]).split()) for row in rows]
    answers = [_plain(Fraction(str(row["solution"]))) for row in rows]
    told = zip(questions, answers, stories(questions), strict=True)
    return [
        {"question": question, "answer": answer, "story": f"{story:03d}", "operation": operation(question, answer)}
        for question, answer, story in told
    ]


def stories(questions: Sequence[str]) -> list[int]:
    """For each question the number of its story, counted from 0 in the order of their first variations."""
    words = [frozenset(re.findall(r"[a-z]+", question.lower())) for question in questions]
    known = Counter(word for each in words for word in each)
    weight = {word: math.log(len(words) / count) for word, count in known.items()}
    first = list(range(len(words)))

    def root(one: int) -> int:
        while first[one] != one:
            one = first[one]
        return one

    for a, b in itertools.combinations(range(len(words)), 2):
        shared, both = (sum(weight[word] for word in some) for some in (words[a] & words[b], words[a] | words[b]))
        if shared >= ALIKE * both and (one := root(a)) != (other := root(b)):
            first[max(one, other)] = min(one, other)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(one), len(numbers)) for one in range(len(words))]


def operation(question: str, answer: str) -> str:
    """Which of -, +, *, / makes the answer of two numbers of the question; the first that does, "other" if none."""
    value, numbers = Fraction(answer), [Fraction(number) for number in NUMBER.findall(question)]
    for a, b in itertools.permutations(numbers, 2):
        made = {"subtraction": a - b, "addition": a + b, "multiplication": a * b, "division": a / b if b else None}
        if found := next((name for name, result in made.items() if result == value), ""):
            return found
    return "other"


def _plain(value: Fraction) -> str:
    """As digits, a decimal where it must be one."""
    return str(value.numerator) if value.denominator == 1 else format(float(value), "g")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    rows = prepared(json.loads(asked.source.read_text(encoding="utf-8")))
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    counts = Counter(row["operation"] for row in rows)
    told = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    print(f"{asked.out}: {len(rows)} problems of {len({row['story'] for row in rows})} stories; {told}")


if __name__ == "__main__":
    main()
