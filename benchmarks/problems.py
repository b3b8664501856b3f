"""What reading files of problems costs: seconds and memory, by format and number of rows.

    python -m benchmarks.problems [--rows 100000 2000000] [--formats jsonl csv parquet]

A line of JSON each: `first` (every row checked, duplicates found, 200 held out) and `pool` (1,000 drawn of the rest), a
file in a process of its own, so that `memory_mib` is the most that it ever held, and `above_mib` without what it held
before it began.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perseid.problems.making import Before, drawn, first
from perseid.problems.settings import Problems
from perseid.problems.splits import normal


def rows(count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        question = f"A farm has {n} hens and {n % 977} geese, and buys {n % 89} more of each. How many birds are there?"
        yield {
            "id": n,
            "question": question,
            "answer": f"all of them #### {n + n % 977 + 2 * (n % 89)}",
            "level": n % 5,
        }


def write(path: Path, count: int) -> None:
    if path.suffix == ".parquet":
        import polars as pl

        pl.DataFrame(list(rows(count))).with_columns(pl.col("answer")).write_parquet(path, row_group_size=100_000)
        return
    with path.open("w") as file:
        if path.suffix == ".csv":
            file.write("id,question,answer,level\n")
        if path.suffix == ".json":
            file.write("[\n")
        for row in rows(count):
            if path.suffix == ".csv":
                file.write(f'{row["id"]},"{row["question"]}",{row["answer"]},{row["level"]}\n')
            else:
                comma = "," if path.suffix == ".json" and row["id"] < count - 1 else ""
                file.write(json.dumps(row) + comma + "\n")
        if path.suffix == ".json":
            file.write("]\n")


def section(path: Path) -> Problems:
    columns = {"id": "id", "facets": ["level"]}
    source = {"source": path.suffix[1:], "path": str(path), "kind": "number", "gold_after": "####", "columns": columns}
    return Problems.model_validate({"train": [source], "held_out": {"problems": 200}, "pool": {"problems": 1000}})


def most_mib() -> float:
    """Of this process alone: what getrusage tells begins with what the parent held."""
    told = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(told.split()[1]) / 1024


def measured(path: Path, count: int) -> None:
    """In a process of its own."""
    import pyarrow.parquet  # noqa: F401  what would else count as the rows'

    problems, root, before = section(path), path.parent, most_mib()
    for name in ("first", "pool"):
        started = time.monotonic()
        if name == "first":
            found = first(problems, 0, root)
        else:
            held_out = frozenset(map(normal, found.held_out))
            assert len(drawn(problems, 0, root, 1, Before(held_out=held_out))) == 1000
        told = {"seconds": round(time.monotonic() - started, 1), "memory_mib": round(most_mib())}
        line = {"name": f"problems.{name}", "format": path.suffix[1:], "rows": count, **told}
        print(json.dumps({**line, "above_mib": round(most_mib() - before)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 2_000_000])
    parser.add_argument("--formats", nargs="+", default=["jsonl", "json", "csv", "parquet"])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measured(given.measure, given.rows[0])
        return
    for form in given.formats:
        for count in given.rows:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"rows.{form}"
                write(path, count)
                command = [sys.executable, "-m", "benchmarks.problems", "--measure", str(path), "--rows", str(count)]
                subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
