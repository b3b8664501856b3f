"""Which trajectories may train a policy: right, distinct, re-executed in full on CPython, the best of their problem.

Search ran each step on the fast tier; a program enters training only if CPython, running it from its first line, prints
exactly what the steps printed. What disagrees is dropped and stands in `rejected` with its reason. Of equal programs
(comments aside) the best ranked stays. Ranking is by mean Q (rStar-Math, arXiv 2501.04519, section 3.4), then minimum
Q, and failures are filtered before the cut, so a problem loses no place to a program that does not hold. A trajectory
of which the grader could not tell is not right, and stands in neither table.
Does not promise that a program is right on other questions of its kind: see `verified_but_wrong` in the evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import polars as pl

from perseid.formats import Format
from perseid.sandbox import Execution, SandboxFailure
from perseid.selection.balance import surplus
from perseid.selection.grounding import final_operation, is_grounded
from perseid.tables import frame

Texts = dict[tuple[str, str], tuple[str, str, str]]


class Executor(Protocol):
    """Runs whole programs. `perseid.sandbox.Sandbox` is one."""

    def run_many(self, codes: Sequence[str], tier: Literal["fast", "cpython"] | None = None) -> list[Execution]: ...


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A right trajectory. `printed` is what its steps printed, in order; `program` its text where none is run."""

    row: dict[str, Any]
    response: str
    printed: str
    program: str


def verify(
    tables: dict[str, pl.DataFrame],
    problems: pl.DataFrame,
    format: Format,
    sandbox: Executor,
    top: int,
    grounded: bool = False,
    balance: float = 0.0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(`verified`, `rejected`) of the tables `texts` and `trajectories`; at most `top` a problem, `rank` from 1.

    Where a format's steps are no programs, nothing is executed: the text that was graded is what trains.
    Raises `SandboxFailure` when the sandbox fails.
    """
    about = {row["problem_id"]: row for row in problems.iter_rows(named=True)}
    queues, rejected = _distinct(_candidates(tables, about, format), format)
    if grounded and format.runs:
        rejected += _ungrounded(queues, about, format)
    kept: dict[str, list[_Candidate]] = {problem_id: [] for problem_id in queues}
    while batch := [c for p in queues for c in _take(queues[p], top - len(kept[p]))]:
        programs = [candidate.program for candidate in batch]
        executions = sandbox.run_many(programs, tier="cpython") if format.runs else [None] * len(batch)
        for candidate, execution in zip(batch, executions, strict=True):
            problem_id = candidate.row["problem_id"]
            if execution is not None and (reason := _disagreement(candidate, execution)):
                rejected.append((candidate.row["trajectory_id"], problem_id, reason))
            else:
                kept[problem_id].append(candidate)
    if balance and format.runs:
        rejected += _surplus(kept, format, balance)
    rows = [_row(c, about[p], rank) for p, chosen in kept.items() for rank, c in enumerate(chosen, 1)]
    return frame("verified", rows), frame("rejected", rejected)


def _candidates(
    tables: dict[str, pl.DataFrame], about: dict[str, dict[str, Any]], format: Format
) -> dict[str, list[_Candidate]]:
    """Right trajectories by problem, the best first."""
    right = (
        tables["trajectories"]
        .filter(pl.col("correct"))
        .sort("problem_id", -pl.col("mean_q"), -pl.col("min_q"), "tokens", "trajectory_id")
    )
    texts = texts_of(tables, right["problem_id"].unique().to_list())
    found: dict[str, list[_Candidate]] = defaultdict(list)
    for row in right.iter_rows(named=True):
        problem_id, response = row["problem_id"], response_of(texts, row)
        printed = "".join(texts[problem_id, node_id][1] for node_id in ancestors(row["node_id"]))
        code = f"{format.setup(about[problem_id]['question'])}\n{format.code_of(response)}"
        found[problem_id].append(_Candidate(row, response, printed, code if format.runs else response))
    return found


def _distinct(
    found: dict[str, list[_Candidate]], format: Format
) -> tuple[dict[str, list[_Candidate]], list[tuple[str, str, str]]]:
    """One candidate a program, and the others as rejected."""
    rejected = []
    for problem_id, candidates in found.items():
        best: dict[str, _Candidate] = {}
        for candidate in candidates:
            if best.setdefault(format.program_key(candidate.program), candidate) is not candidate:
                rejected.append((candidate.row["trajectory_id"], problem_id, "duplicate"))
        found[problem_id] = list(best.values())
    return found, rejected


def _ungrounded(
    queues: dict[str, list[_Candidate]], about: dict[str, dict[str, Any]], format: Format
) -> list[tuple[str, str, str]]:
    """Those that do not compute with numbers of their question, which leave the queues."""
    rejected = []
    for problem_id, queue in queues.items():
        question = about[problem_id]["question"]
        kept = [candidate for candidate in queue if is_grounded(format.code_of(candidate.response), question)]
        rejected += [(c.row["trajectory_id"], problem_id, "not grounded") for c in queue if c not in kept]
        queue[:] = kept
    return rejected


def _surplus(kept: dict[str, list[_Candidate]], format: Format, balance: float) -> list[tuple[str, str, str]]:
    """Those that end in an operation that too many end in, which are no longer kept."""
    ranked = {c.row["trajectory_id"]: (rank, c) for chosen in kept.values() for rank, c in enumerate(chosen, 1)}
    kinds = {name: final_operation(format.code_of(c.response)) for name, (_, c) in ranked.items()}
    rejected = []
    for name in surplus(kinds, {name: rank for name, (rank, _) in ranked.items()}, balance):
        candidate = ranked[name][1]
        kept[candidate.row["problem_id"]].remove(candidate)
        rejected.append((name, candidate.row["problem_id"], "surplus of its operation"))
    return rejected


def _take(queue: list[_Candidate], count: int) -> list[_Candidate]:
    taken = queue[:count]
    del queue[:count]
    return taken


def _disagreement(candidate: _Candidate, execution: Execution) -> str:
    """Why CPython does not confirm the search's execution; "" when it does."""
    if execution.status == "sandbox_error":
        raise SandboxFailure(f"{candidate.row['problem_id']}: the sandbox failed: {execution.error}")
    if execution.status != "ok":
        return f"{execution.status} on CPython"
    return "" if execution.stdout == candidate.printed else "prints something else on CPython"


def _row(candidate: _Candidate, about: dict[str, Any], rank: int) -> tuple[Any, ...]:
    row = candidate.row
    problem = (row["problem_id"], about["question"])
    return (row["trajectory_id"], *problem, candidate.response, row["answer"], row["mean_q"], row["min_q"], rank)


def texts_of(tables: dict[str, pl.DataFrame], problem_ids: Sequence[str] | None = None) -> Texts:
    """(text, stdout, error) by problem and node, of these problems or of all."""
    rows = tables["texts"]
    wanted = rows if problem_ids is None else rows.filter(pl.col("problem_id").is_in(problem_ids))
    return {row[:2]: row[2:] for row in wanted.iter_rows()}


def response_of(texts: Texts, trajectory: dict[str, Any]) -> str:
    """What stands on the way to the node at which a trajectory ends."""
    path = ancestors(trajectory["node_id"])
    return "".join(texts[trajectory["problem_id"], node_id][0] for node_id in path)


def ancestors(node_id: str) -> list[str]:
    """The ids on the path to a node, the root left out: "0.3.1" gives ["0.3", "0.3.1"]."""
    parts = node_id.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts) + 1)]
