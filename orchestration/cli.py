"""The command line. A mistake that the user can mend is one line on standard error and exit status 2.

What a command needs is imported in it, so that `--help` and an `evolve` with nothing to do come at once.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from orchestration import signals
from orchestration.causes import mendable
from perseid.errors import UserError, printable

if TYPE_CHECKING:
    from assets.freshness import Unit
    from assets.graph import Graph
    from orchestration.places import Places
    from orchestration.prompts import Shows
    from perseid.artifacts import Store
    from perseid.experiment import Experiment

INTERRUPTED = 130
INTERRUPTS = {"DagsterExecutionInterruptedError"}  # named, so that it need not be imported
FAILURES = {"EngineFailure", "SandboxFailure"}  # of what serves a search; the user may mend it
TABLE_WIDTH, MESSAGE = 110, 4000  # characters

app = typer.Typer(
    name="perseid",
    help="Evolve language models from their own verified work: run experiments, look at them, trace what made what.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ExperimentName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="A name in experiments/, or a path to a file.")
]
Root = Annotated[Path | None, typer.Option(help="Artifact root. Default: $PERSEID_ROOT, else var/artifacts.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Instead of the experiment's seed. Use a --root for each.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@app.command()
def evolve(
    experiment: ExperimentName,
    rounds: Annotated[int | None, typer.Option(min=0, help="Stop after this round. Default: all.")] = None,
    seed: Seed = None,
    root: Root = None,
    take_over: Annotated[bool, typer.Option("--take-over", help="Even if another file holds its name there.")] = False,
) -> None:
    """Run an experiment to its end. What is fresh is kept; an interrupted run goes on."""
    from orchestration.evolve import evolve as run
    from orchestration.evolve import graph_of, quiet_libraries
    from orchestration.progress import Screen, clock
    from orchestration.report import next_commands, table_of

    started, (loaded, places) = time.monotonic(), located(experiment, root, seed)
    plan, console = units_in(graph_of(loaded, rounds)), wide_console()
    places.prepare()
    with quiet_libraries(), Screen(console, plan, len(loaded.rounds)) as screen:
        done = run(loaded, places, screen, rounds, take_over)
    console.print(table_of(loaded, store_of(root)), soft_wrap=True)
    took = clock(time.monotonic() - started)
    told = (
        f"{done.made} artifacts made, {done.kept} were fresh, {took}." if done.made else f"Everything is fresh, {took}."
    )
    console.print(f"\n{told} To go on:")
    last = len(loaded.rounds) if rounds is None else rounds
    for command in next_commands(loaded, last):
        console.print(f"  {command}", soft_wrap=True)


@app.command()
def status(experiment: ExperimentName, json_: Json = False, seed: Seed = None, root: Root = None) -> None:
    """Metrics, versions and freshness of every round."""
    from orchestration import report

    loaded, _ = located(experiment, root, seed)
    store = store_of(root)
    if json_:
        print_json(report.status(loaded, store))
    else:
        wide_console().print(report.table_of(loaded, store), soft_wrap=True)


@app.command()
def plan(experiment: ExperimentName, json_: Json = False, seed: Seed = None, root: Root = None) -> None:
    """What an experiment would do: problems, most calls and tokens, disk. Reads problems, loads no model."""
    from orchestration import plan as plans

    loaded, places = located(experiment, root, seed)
    store = store_at(places)
    if json_:
        print_json(plans.as_json(loaded, store))
    else:
        wide_console().print(plans.table_of(loaded, store), soft_wrap=True)


@app.command()
def prompt(
    experiment: ExperimentName,
    count: Annotated[int, typer.Option(min=1, help="How many of what round 1 searches.")] = 3,
    problem: Annotated[str | None, typer.Option(metavar="ID", help="This one, searched or held out.")] = None,
    step: Annotated[int, typer.Option(min=1, help="As its step is asked for, behind those of a trajectory.")] = 1,
    trained: Annotated[
        bool, typer.Option("--trained", help="As a trained policy is told it: without examples.")
    ] = False,
    json_: Json = False,
    root: Root = None,
) -> None:
    """Problems as the model is told them, template and special tokens included, and the golds that graders see."""
    from orchestration.prompts import Shows

    loaded, places = located(experiment, root)
    show_prompts(loaded, store_at(places), Shows(count, problem, step, trained), json_)


@app.command()
def export(
    experiment: ExperimentName,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    round_number: Annotated[int | None, typer.Option("--round", help="Whose policy. Default: the champion.")] = None,
    root: Root = None,
) -> None:
    """Write a policy as a folder that transformers and `vllm serve` load by themselves."""
    from orchestration.exporting import exported

    loaded, _ = located(experiment, root)
    folder, manifest = exported(loaded, store_of(root), out, round_number)
    typer.echo(f"{folder}: perseid://{manifest.key}@{manifest.version}")


@app.command()
def query(
    sql_or_name: Annotated[
        str | None, typer.Argument(metavar="SQL-or-NAME", help="Without one: lists the names.")
    ] = None,
    param: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter of a named query.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Only this experiment.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="Rows to print; 0: all. Default: 50, as JSON all.")] = None,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows a query may find.")] = 1_000_000,
    max_seconds: Annotated[float, typer.Option(min=0.001, max=1e6, help="Seconds a query may take.")] = 60.0,
    max_memory_gib: Annotated[float, typer.Option(min=0.01, max=1e6, help="GiB a query may take.")] = 2.0,
    json_: Json = False,
    root: Root = None,
) -> None:
    """Ask the artifacts: a query by name, or SQL of your own over views such as problems, nodes, verified, lineage."""
    from orchestration import questions
    from perseid.queries import Limits

    values = questions.parameters(param or [], sql_or_name, experiment)
    limits = Limits(max_seconds, max_memory_gib, max_rows)
    questions.answer(store_of(root), sql_or_name, values, limit, json_, limits)


@app.command()
def lineage(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="A key, or perseid://key@version.")],
    json_: Json = False,
    root: Root = None,
) -> None:
    """The tree of what an artifact was made from, with versions, down to the problems."""
    from orchestration import questions

    questions.trace(store_of(root), artifact, json_)


@app.command()
def check(
    artifacts: Annotated[
        list[str] | None, typer.Argument(metavar="EXPERIMENT|KEY", help="Default: all that the root holds.")
    ] = None,
    json_: Json = False,
    root: Root = None,
) -> None:
    """Read every byte of the current artifacts again, and say what is not as it was published."""
    from orchestration import questions

    raise typer.Exit(questions.check(store_of(root), artifacts or [], json_))


@app.command()
def promote(
    experiment: ExperimentName,
    round_number: Annotated[int, typer.Argument(metavar="ROUND", min=0, help="Whose policy becomes champion.")],
    root: Root = None,
) -> None:
    """Make a round's policy the champion, whatever the gate said."""
    from orchestration import champions

    store_of(root)
    champion = champions.promote(*located(experiment, root), round_number)
    typer.echo(f"champion: {champion.key}@{champion.version}")


@app.command()
def rollback(experiment: ExperimentName, root: Root = None) -> None:
    """Give the champion's place back to the champion before it."""
    from orchestration import champions

    store_of(root)
    champion = champions.rollback(*located(experiment, root))
    typer.echo(f"champion: {champion.key}@{champion.version}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _, a letter first.")],
    model: Annotated[str | None, typer.Option(help="Of your own: a folder, or a name of the hub.")] = None,
    problems: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Of your own: JSONL, JSON, CSV, Parquet, or a folder of a saved data set."),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to write it. Default: experiments/.")] = None,
) -> None:
    """Write a commented experiment file to start from: every key, or what a model and a file of problems need."""
    from orchestration import template

    if bool(model) != bool(problems):
        raise UserError("new", "--problems" if model else "--model", "expected --model and --problems, or neither")
    if model and problems:
        written = template.write_own(name, model, problems, folder)
        path = written.path
        for line in template.remarks(written):
            typer.echo(line)
        from orchestration.prompts import Shows

        loaded, places = located(str(path), None)
        show_prompts(loaded, store_at(places), Shows(), as_json=False)
    else:
        path = template.write(name, folder)
        typer.echo(path)
    typer.echo(f"Run it with: perseid evolve {path if folder else name}")


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Of Dagster.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Of MLflow.")] = 5000,
    root: Root = None,
) -> None:
    """Dagster's web server and daemon and the MLflow UI, on loopback, until Ctrl-C."""
    from orchestration.serve import serve

    signals.release()  # to be ended is how it ends
    raise typer.Exit(serve(places_of(root), port, mlflow_port))


def show_prompts(loaded: "Experiment", store: "Store", wanted: "Shows", as_json: bool) -> None:
    from dataclasses import asdict

    from orchestration.prompts import lines_of, shown

    found, why = shown(loaded, store, wanted)
    if as_json:
        print_json({"prompts": [asdict(one) for one in found], "unrendered": why})
        return
    for line in lines_of(found, why):
        typer.echo(line)


def located(experiment: str, root: Path | None, seed: int | None = None) -> "tuple[Experiment, Places]":
    """The experiment and where its things lie."""
    from orchestration.places import experiment_file
    from perseid.experiment import load_experiment

    return load_experiment(experiment_file(experiment), {} if seed is None else {"seed": seed}), places_of(root)


def places_of(root: Path | None) -> "Places":
    from orchestration.places import Places

    return Places.of(root)


def store_of(root: Path | None) -> "Store":
    """To read. A root that was named and is not there is a mistake; the default one has nothing yet."""
    from perseid.artifacts import Store

    places = places_of(root)
    places.there(named=root is not None or bool(os.environ.get("PERSEID_ROOT")))
    return Store(places.root)


def store_at(places: "Places") -> "Store":
    """To read of it what there is, for what needs nothing to be there."""
    from perseid.artifacts import Store

    return Store(places.root)


def units_in(graph: "Graph") -> "list[Unit]":
    from assets.freshness import units

    return list(units(graph))


def wide_console() -> Console:
    """Wide enough for the table of rounds, whatever the terminal says."""
    screen = Console(highlight=False)
    return screen if screen.width >= TABLE_WIDTH else Console(highlight=False, width=TABLE_WIDTH)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def main(arguments: list[str] | None = None) -> None:
    try:
        status = app(arguments, standalone_mode=False)
    except BaseException as error:
        sys.exit(explained(error))
    if status:  # of `typer.Exit`; typer makes 130 of Ctrl-C
        sys.exit(signals.say() if signals.received() or status == INTERRUPTED else status)


def explained(error: BaseException) -> int:
    """The exit status of what ended a command. What the user cannot mend is raised again, with its trace."""
    if signals.received() or isinstance(error, KeyboardInterrupt | typer.Abort) or type(error).__name__ in INTERRUPTS:
        return signals.say()
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, Exception) and hasattr(error, "exit_code") and hasattr(error, "show"):
        return misused(error)  # a mistake in the command line: typer's own exceptions have no public base
    if isinstance(error, UserError) or type(error).__name__ == "SandboxUnavailable":
        return failed(str(error), 2)
    if type(error).__name__ in FAILURES:
        return failed(f"{error}; what was answered is kept, the same command goes on from here", 1)
    if reason := mendable(error):
        return failed(reason, 2)
    raise error


def misused(error: Any) -> int:
    """One line with the way to the help; the help itself where a command stands alone."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        command = error.ctx.command_path if error.ctx is not None else app.info.name or ""
        failed(f"{error.format_message()} (see {command} --help)", 2)
    return int(error.exit_code)


def failed(message: str, status: int) -> int:
    print(f"error: {printable(message, MESSAGE)}", file=sys.stderr)
    return status
