"""What would train a policy if nobody verified: answers of a round, right or not, for an arm to compare with.

Of distinct programs (texts, where none is run) that came to an answer, at most `top` a problem, drawn by seed; as many
as were verified in all, so that both arms see as many examples. That they ran is what they have in common; verification
is all in which they differ, but for the share of problems: verified answers come from the problems that are solved.
"""

import hashlib

import polars as pl

from perseid.formats import Format
from perseid.selection.verified import response_of, texts_of
from perseid.tables import frame


def draw(
    tables: dict[str, pl.DataFrame], problems: pl.DataFrame, format: Format, top: int, count: int, seed: int
) -> pl.DataFrame:
    """`unverified`, of the tables `texts` and `trajectories`: at most `top` a problem, at most `count`."""
    texts, questions = texts_of(tables), dict(problems.select("problem_id", "question").iter_rows())
    places = tables["trajectories"].iter_rows(named=True)
    kept, seen, taken = list[tuple[object, ...]](), set[tuple[str, str]](), dict[str, int]()
    for row in sorted(places, key=lambda row: lot(seed, row["trajectory_id"])):
        problem_id, response = row["problem_id"], response_of(texts, row)
        program = problem_id, format.program_key(format.code_of(response) if format.runs else response)
        if len(kept) < count and program not in seen and taken.get(problem_id, 0) < top:
            seen.add(program)
            taken[problem_id] = taken.get(problem_id, 0) + 1
            about = (problem_id, questions[problem_id], response, row["answer"], row["correct"])
            kept.append((row["trajectory_id"], *about))
    return frame("unverified", kept)


def lot(seed: int, name: str) -> str:
    """Where a name stands in the order that a seed draws."""
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
