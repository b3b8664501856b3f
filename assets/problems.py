"""`problems`: the held-out set, what demonstrates, and the answers apart from them.

The questions that rounds search are apart, a pool a round (`assets.pool`).
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from assets.graph import code_version
from assets.work import Made, Work
from perseid.errors import UserError
from perseid.formats import Format
from perseid.graders import unreadable
from perseid.problems import Demonstration, Gold, Item, Problem
from perseid.problems.facets import sizes, wide
from perseid.problems.making import First, first, promises
from perseid.problems.settings import Problems
from perseid.tables import frame

VERSION = 4  # a problem is a question and the kind of its answer; what else is known of it are facets
KNOWN = ("problems", "facets", "pools")  # the tables of what is asked, answers apart


def make(work: Work) -> Made:
    e = work.settings
    found = first(e.problems, e.seed, work.root)
    refuse_changed(work)
    tables = frames_of({"held_out": found.held_out, "demonstration": found.shown})
    tables |= {
        "demonstrations": demonstration_frame(found.demonstrations, work.format),
        "skipped": skipped_frame(found),
    }
    refuse_overlaps(work, tables, tables["demonstrations"])
    for name, table in tables.items():
        work.table(name, table)
    splits = tables["pools"].group_by("split").len("problems").sort("split")
    kinds = tables["demonstrations"].group_by("kind").len("examples").sort("kind")
    left_out = tables["skipped"].group_by("side", "reason").len("rows").sort("side", "reason")
    shown = {"problems": splits, "facets": sizes(tables["facets"]), "demonstrations": kinds, "left out": left_out}
    rows = {f"rows of {side}": float(count) for side, count in found.rows.items()}
    useless = golds_without_use(work, [*found.held_out, *found.shown])
    metrics = {"problems": tables["problems"].height, **rows, "rows left out": tables["skipped"].height}
    metrics |= {"golds that cannot be read": useless} if useless else {}
    return Made(metrics=metrics, tables={name: table for name, table in shown.items() if table.height})


def refuse_changed(work: Work) -> None:
    """Raises `UserError` where a file is not the one that this was planned for."""
    node = work.plan.node
    if code_version(work.plan.experiment, work.round, node) != node.code_version:
        raise UserError(work.key, "problems", "a file of problems changed meanwhile; run the same command again")


def golds_without_use(work: Work, items: Sequence[Item]) -> int:
    """How many golds their graders cannot read: the log says it. Raises `UserError` where it is all those of a kind.

    Nothing can be told of answers to such problems.
    """
    faults = {item.problem.problem_id: unreadable(item.problem.kind, item.gold.answer) for item in items}
    for kind in sorted({item.problem.kind for item in items}):
        of_kind = [item.problem.problem_id for item in items if item.problem.kind == kind]
        bad = [problem_id for problem_id in of_kind if faults[problem_id]]
        if bad:
            told = (
                f"{len(bad):,} of {len(of_kind):,} golds of the kind {kind} cannot be read: {bad[0]}: {faults[bad[0]]}"
            )
            if len(bad) == len(of_kind):
                raise UserError(work.key, "kind", told)
            logging.getLogger(__name__).warning("%s: %s. Of answers to these nothing can be told", work.key, told)
    return sum(fault is not None for fault in faults.values())


def skipped_frame(found: First) -> pl.DataFrame:
    """By the file's name alone: where it lay is no part of a version."""
    rows = [(side, row._replace(file=Path(row.file).name)) for side, those in found.skipped.items() for row in those]
    return frame("skipped", ((side, *row) for side, row in rows))


def frames_of(placed: Mapping[str, Sequence[Item]], round: int = 0) -> dict[str, pl.DataFrame]:
    """The tables problems, gold, facets and pools of items, by split."""
    items = [item for split in placed.values() for item in split]
    rows = [(p.problem_id, p.source, p.kind, p.question) for p in (item.problem for item in items)]
    gold = [(item.gold.problem_id, json.dumps(item.gold.answer, ensure_ascii=False)) for item in items]
    facets = [(item.problem.problem_id, *facet) for item in items for facet in item.facets.items()]
    pools = [(round, split, item.problem.problem_id) for split, those in placed.items() for item in those]
    return {
        "problems": frame("problems", rows),
        "gold": frame("gold", gold),
        "facets": frame("facets", facets),
        "pools": frame("pools", pools),
    }


def every(work: Work, table: str) -> pl.DataFrame:
    """The rows of a table of what is held out and of what rounds searched so far, equal ones once."""
    known = [work.read(role, table) for role in ("problems", "asked") if work.given(role)]
    return pl.concat(known).unique(maintain_order=True)


def problems_of(frame: pl.DataFrame) -> list[Problem]:
    return [Problem(**row) for row in frame.iter_rows(named=True)]


def gold_of(frame: pl.DataFrame) -> list[Gold]:
    return [Gold(problem_id, json.loads(answer)) for problem_id, answer in frame.select("problem_id", "answer").rows()]


def facets_of(frame: pl.DataFrame) -> dict[str, dict[str, str]]:
    """By problem, its facets."""
    found: dict[str, dict[str, str]] = {}
    for problem_id, name, value in frame.select("problem_id", "name", "value").iter_rows():
        found.setdefault(problem_id, {})[name] = value
    return found


def demonstration_frame(demonstrations: Sequence[Demonstration], format: Format) -> pl.DataFrame:
    rows = [
        (shown.example_id, shown.kind, shown.problem_id, shown.question, format.write(shown.steps))
        for shown in demonstrations
    ]
    return frame("demonstrations", rows)


def refuse_overlaps(work: Work, tables: Mapping[str, pl.DataFrame], demonstrations: pl.DataFrame) -> None:
    """Raises `UserError` when a held-out question stands elsewhere too, or a source does not keep what it promises.

    tables: problems, facets and pools, all that are known so far.
    """
    if overlaps := shared_questions(tables, demonstrations).height:
        expected = f"expected held-out questions in no other split, found {overlaps} that are"
        raise UserError(work.key, "problems", expected)
    e = work.settings
    if broken := unkept_promises(tables, e.problems, e.seed, work.root).height:
        raise UserError(work.key, "problems", f"expected what the source promises, found {broken} that break it")


def shared_questions(tables: Mapping[str, pl.DataFrame], demonstrations: pl.DataFrame) -> pl.DataFrame:
    """Questions of the held-out set that stand elsewhere too: demonstrated, or in a round's pool.

    Columns question, splits. White space does not part two questions.
    """
    pool = pl.format("pool of round {}", "round")
    placed = placed_problems(tables).select("question", split=pl.when(split="pool").then(pool).otherwise("split"))
    shown = demonstrations.select("question", split=pl.lit("demonstration"))
    words = pl.col("question").str.strip_chars().str.replace_all(r"\s+", " ")
    asked = pl.concat([placed, shown]).with_columns(question=words).unique()
    splits = asked.group_by("question").agg(pl.col("split").sort())
    shared = (pl.col("split").list.len() > 1) & pl.col("split").list.contains("held_out")
    return splits.filter(shared).select("question", splits=pl.col("split").list.join(", ")).sort("question")


def placed_problems(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """A row a place where a problem stands: round, split, and its columns."""
    return tables["pools"].join(tables["problems"].unique("problem_id"), on="problem_id")


def unkept_promises(tables: Mapping[str, pl.DataFrame], problems: Problems, seed: int, root: Path) -> pl.DataFrame:
    """Problems that break what their source promises of the splits."""
    placed = placed_problems(tables).join(wide(tables["facets"].unique()), on="problem_id", how="left")
    broken = [
        source.broken(placed.filter(pl.col("source") == name))
        for name, source in promises(problems, seed, root).items()
    ]
    return pl.concat([placed.select("problem_id").clear(), *broken], how="diagonal")
