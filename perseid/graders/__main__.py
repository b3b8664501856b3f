"""`python -m perseid.graders KIND ANSWER… --gold GOLD`: how answers are graded, to try a kind or a grader of one's own.

KIND is the name of a kind, or the path of a file with `grade`. GOLD is JSON where it can be read as such, else text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from typing import Any

from perseid.errors import UserError
from perseid.graders.judge import Judge
from perseid.graders.kinds import opened, refused
from perseid.graders.own import Own
from perseid.problems.problem import Gold, Problem
from perseid.sandbox import Sandbox

WORDS = {True: "right", False: "wrong", None: "cannot tell"}


def main() -> int:
    logging.basicConfig(format="%(message)s")
    given = _arguments()
    own = {"own": Own(python=given.kind)} if given.kind.endswith(".py") else {}
    kind = "own" if own else given.kind
    try:
        for each in own.values():
            each.source  # noqa: B018  its mistake comes before the sandbox is there
        if why := refused(kind, own):
            raise UserError("kind", "", why)
        with Sandbox() as sandbox, opened(own, [kind], sandbox) as graders:
            judge = Judge([Problem("p", "", kind, given.question)], [Gold("p", _json(given.gold))], graders)
            verdicts = asyncio.run(judge.grade("p", given.answers))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    for verdict, answer in zip(verdicts, given.answers, strict=True):
        print(f"{WORDS[verdict]:<12} {answer}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m perseid.graders", description="How answers are graded.")
    parser.add_argument("kind", help="the name of a kind, or the path of a file with grade(question, gold, answers)")
    parser.add_argument("answers", nargs="+")
    parser.add_argument("--gold", required=True, help="JSON where it can be read as such, else text")
    parser.add_argument("--question", default="")
    return parser.parse_args()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


if __name__ == "__main__":
    sys.exit(main())
