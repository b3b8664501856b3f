"""rStar-Math (arXiv 2501.04519, section 3): MCTS over steps that are code and are run as made.

Terminal-guided when the settings have no PPM: an answer is worth +1 or -1, interior nodes start at 0. PPM-augmented:
an interior node starts from its PPM score, counted as one visit. Inference (nothing graded): an answer is worth its
PPM score, or 0 without a PPM, where the most frequent answer wins.

The parity preset (`unvisited: zero`, `tie: first`) does as the released code. The default departs from it where that
code starves the search, and only there:
- an unvisited child comes first, and ties are drawn by seed;
- siblings with equal code are one child, whatever their comments say; the released code compares the text. What is a
  comment is for Python's tokenizer to say: a `#` inside a string is none;
- an answer among the samples does not drop the others. With one-line answer steps that rule would keep a single
  reader-function pair a level and end the exploration that the method is for;
- an exhausted subtree closes its parent at once and costs no rollout, and while a problem is unsolved an exhausted
  tree is sampled anew ("trees from different seeds" in the paper's last round).
"""

from __future__ import annotations

import io
import math
import re
import tokenize
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from perseid.engine import Completion, Sampling
from perseid.experiment import Search
from perseid.search.method import Rated, Standing, Step
from perseid.search.tree import Stats

QUESTION: Final = "<|question|>"
STEPS: Final = "<|steps|>"
END_OF_STEP: Final = "<|end_of_step|>"
END_OF_ANSWER: Final = "<|end_of_answer|>"
MARKS: Final = (QUESTION, STEPS, END_OF_STEP, END_OF_ANSWER)  # special tokens of a tokenizer, the last one ends a text
PAD: Final = "<|pad|>"  # and the one that fills a batch
MARK: Final = re.compile(r"<\|[^<>|\s]+\|>")  # these, and what else a tokenizer may have: a step holds none
UNQUOTED: Final = re.compile(r"[ \n!#%&(->@-\[\]-_a-~]*")  # no quote, no backslash: every # begins a comment


@dataclass(frozen=True)
class RStarMath:
    name: str = "rstar_math"
    version: str = "2"

    @property
    def key(self) -> str:
        return f"{self.name} {self.version}"

    def prompt(self, question: str, response: str) -> str:
        return f"{QUESTION}{question}{STEPS}{response}"

    def setup(self, question: str) -> str:
        return f"q = {question!r}"

    def code_of(self, response: str) -> str:
        return response.replace(END_OF_STEP, "\n").replace(END_OF_ANSWER, "\n").strip("\n")

    def program_key(self, code: str) -> str:
        return _without_comments(code)

    def sampling(self, settings: Search) -> Sampling:
        stop = (END_OF_STEP, END_OF_ANSWER)
        return Sampling(settings.temperature, settings.top_p, settings.max_step_tokens, stop)

    def width(self, standing: Standing, settings: Search) -> int:
        return settings.candidates

    def parse(self, completion: Completion) -> Step:
        """A step ended by a delimiter that is re-appended; cut by the length limit or without code, it is none."""
        code, is_code = _code_in(completion.text)
        parsed = is_code and completion.stop in (END_OF_STEP, END_OF_ANSWER)
        ends = completion.stop == END_OF_ANSWER
        return Step(completion.text + completion.stop, code, ends, completion.num_tokens, parsed)

    def keep(self, steps: Sequence[Step], known: Sequence[Step], settings: Search) -> list[Step]:
        """Without duplicates. Parity: by text, and only the first answer if there is one, everything else dropped."""
        parity = is_parity(settings)
        key = _text if parity else self._program
        here = {key(step) for step in known}
        distinct: dict[tuple[object, ...], Step] = {}
        for step in steps:
            if (program := key(step)) not in here:
                distinct.setdefault(program, step)
        kept = list(distinct.values())
        answers = [step for step in kept if step.ends]
        return answers[:1] if parity and answers else kept

    def _program(self, step: Step) -> tuple[object, ...]:
        return step.ends, step.parsed, self.program_key(step.code)

    def goes_on(self, standing: Standing, settings: Search) -> bool:
        """`rollouts`, then `rollouts_unsolved` more while no answer is right; an exhausted tree only while unsolved."""
        allowed = settings.rollouts + (settings.rollouts_unsolved if standing.solved is False else 0)
        widens = standing.solved is False and not is_parity(settings)
        return standing.rollouts < allowed and (widens or not standing.exhausted)

    def decided(self, standing: Standing, settings: Search) -> bool:
        """Never: the Q of an answer may change with every rollout."""
        return False

    def closes_upwards(self, settings: Search) -> bool:
        return not is_parity(settings)

    def select(self, parent: Stats, children: Sequence[Stats], settings: Search, draw: Callable[[int], int]) -> int:
        scores = [uct(child, parent.visits, settings.exploration, settings.unvisited) for child in children]
        best = max(scores)
        first = scores.index(best)
        if settings.tie == "first" or scores.count(best) == 1:
            return first
        ties = [index for index, score in enumerate(scores) if score == best]
        return ties[draw(len(ties))]

    def enter(self, node: Stats) -> None:
        """The PPM's score counts as one visit of an open node; a step that failed is -1, and tells nobody else."""
        if node.status == "open" and node.prior is not None:
            node.visits, node.value_sum = 1, node.prior
        elif node.status not in ("open", "answer"):
            node.visits, node.value_sum = 1, -1.0

    def reward(self, correct: bool | None, prior: float | None) -> float:
        if correct is None:
            return prior or 0.0
        return 1.0 if correct else -1.0

    def back_up(self, path: Sequence[Stats], reward: float) -> None:
        """q(s)^k = q(s)^(k-1) + q(answer) along the whole path, the root included."""
        for stats in path:
            stats.visits += 1
            stats.value_sum += reward

    def pick(self, answers: Sequence[Rated]) -> str | None:
        """The answer with the best Q; among equals the one found most often, then the first."""
        count = Counter(rated.answer for rated in answers)
        best = max(answers, key=lambda rated: (rated.q, count[rated.answer]), default=None)
        return None if best is None else best.answer


@lru_cache(maxsize=10_000)
def _code_in(text: str) -> tuple[str, bool]:
    """The code of a step and whether it is any. Remembered: most samples of a node are alike."""
    code = text.strip("\n")
    return code, not is_marked(code) and bool(_without_comments(code))


def is_marked(text: str) -> bool:
    """Whether a mark stands in `text`: as a token it would end, open or pad what it stands in."""
    return "<|" in text and MARK.search(text) is not None


@lru_cache(maxsize=10_000)
def _without_comments(code: str) -> str:
    """Without comments, blank lines and spaces at the ends of lines, where these mean nothing.

    What is not made of Python's tokens stays as it is, and so does what ends a line with a backslash. Remembered: the
    siblings of a node are compared with every new sample.
    """
    if UNQUOTED.fullmatch(code):
        lines = (line.partition("#")[0].rstrip() for line in code.split("\n"))
        return "\n".join(line for line in lines if line)
    text = code.replace("\r\n", "\n").replace("\r", "\n")  # as the compiler does
    if "\\\n" in text:
        return code
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (SyntaxError, tokenize.TokenError):
        return code
    return code if any(token.type == tokenize.ERRORTOKEN for token in tokens) else _stripped(text, tokens)


def _stripped(code: str, tokens: Sequence[tokenize.TokenInfo]) -> str:
    """A line whose end is inside a string keeps it, and the line after it. Token rows begin at 1."""
    lines = code.split("\n")
    in_string: set[int] = set()
    for token in tokens:
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
        else:
            in_string.update(range(token.start[0] - 1, token.end[0] - 1))
    lines = [line if index in in_string else line.rstrip(" \t\f") for index, line in enumerate(lines)]
    return "\n".join(line for index, line in enumerate(lines) if line or index in in_string)


def is_parity(settings: Search) -> bool:
    """Whether the settings ask for the released code's behaviour."""
    return settings.unvisited == "zero" and settings.tie == "first"


def uct(child: Stats, parent_visits: int, exploration: float, unvisited: str) -> float:
    """Q + c sqrt(ln N(parent) / N(child)); the second term is 0 while the parent has no visit.

    A child without visits scores 0 (`zero`: the released code, confirmed by its author) or infinity (`inf`).
    """
    if child.visits == 0:
        return 0.0 if unvisited == "zero" else math.inf
    if parent_visits == 0:
        return child.q
    return child.q + exploration * math.sqrt(math.log(parent_visits) / child.visits)


def _text(step: Step) -> tuple[object, ...]:
    return step.text, step.ends


METHOD: Final = RStarMath()
