"""`new`: an experiment file to start from. One with every key, or one for a model and a file of problems."""

import importlib.util
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pydantic_core import PydanticCustomError

from orchestration.places import EXPERIMENTS, REPOSITORY
from perseid.errors import UserError, printable
from perseid.naming import named
from perseid.problems.guessing import Guess, guessed
from perseid.problems.rows import Settings as RowSettings
from perseid.problems.source import settings_of

TEMPLATE = Path(__file__).with_name("new_experiment.yaml")
OWN = Path(__file__).with_name("own_experiment.yaml.j2")
EXAMPLES = REPOSITORY / "perseid" / "formats"
LOOKED_AT: Final = 2000  # rows
ENDINGS: Final = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
PROGRAMS: Final = "code_steps"  # how models are asked where the answer is a number
# and elsewhere, by the kind of the answer: steps of text, and how the answer is found in them.
RULES: Final[Mapping[str, str]] = {
    "math": "{kind: chain, answer: [boxed, the_answer_is, last_line]}",
    "choice": "{kind: chain, answer: [the_answer_is, last_letter]}",
    "boolean": "{kind: chain, answer: [the_answer_is, last_line]}",
    "text": "{kind: chain, answer: [the_answer_is, last_line]}",
    "code": '{kind: chain, answer: [code], stop: ["\\nQuestion:"]}',
}
SHOTS: Final = frozenset(
    {"boolean", "choice", "code", "text"}
)  # kinds with worked examples of their own, beside formats
MANY: Final = 400  # held-out problems: an interval of 5 points on either side; more make evaluation dearer than search
CHATS: Final = ("instruct", "chat", "-it")


@dataclass(frozen=True)
class Written:
    path: Path
    guess: Guess


def write(name: str, folder: Path | None = None) -> Path:
    """Write `<folder>/<name>.yaml`, every key in it with its meaning.

    Raises `UserError` for a bad name, a file that exists, a folder that refuses.
    """
    return _placed(name, folder, TEMPLATE.read_text().replace("name: NAME", f"name: {name}", 1))


def write_own(name: str, model: str, paths: Sequence[str], folder: Path | None = None) -> Written:
    """The same for `model` (a folder, or a name of the hub) and files of problems alike, after a look at their rows.

    Raises `UserError` as `write` does, for files that are not there or hold no problems, and for a folder that is none.
    """
    _checked(name)
    for option, said in (("--model", model), *(("--problems", path) for path in paths)):
        if not said.strip() or not said.isprintable():  # it stands in one line of the file
            raise UserError("new", option, f"expected a name that can be printed, found {printable(repr(said), 80)}")
    if not _possible(model):
        raise UserError("new", "--model", f"expected a folder or a name of the hub like owner/model; found {model}")
    sources = [source_of(path) for path in paths]
    rows = [row for source in sources for row in looked_at(source)]
    guess = guessed(rows, ", ".join(paths))
    held_out = f"{{problems: {MANY}}}" if len(rows) >= LOOKED_AT else "{share: 0.2}"
    said = _told(name, model, sources, guess, held_out=held_out, format=_format(guess, folder))
    return Written(_placed(name, folder, said), guess)


def source_of(path: str) -> dict[str, Any]:
    """What reads `path`, by its ending, as the experiment file says it. Raises `UserError` for another ending."""
    if Path(path).is_dir():
        return {"source": "dataset", "path": path}
    suffix = Path(path.removesuffix(".gz")).suffix.lower()
    if suffix not in ENDINGS:
        expected = (
            f"expected a file that ends in one of {', '.join(ENDINGS)} (.gz too), or a folder of a saved data set"
        )
        raise UserError("new", "--problems", f"{expected}; found {path}")
    return {"source": ENDINGS[suffix], "path": path, **({"delimiter": "\t"} if suffix == ".tsv" else {})}


def looked_at(source: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The first rows that can be read."""
    settings = settings_of({**source, "kind": "text"})
    assert isinstance(settings, RowSettings)
    rows = [row.values for row in islice(settings.rows(REPOSITORY), LOOKED_AT) if row.values is not None]
    if not rows:
        raise UserError(str(source["path"]), "", "expected rows that can be read, found none")
    return rows


def _format(guess: Guess, folder: Path | None) -> str:
    """How questions of this kind are told and answers read, with examples of the kind's own where it has some.

    The examples' path starts at the project's root, or at `/` where the file lies in no `experiments/` of ours.
    """
    if guess.numeric:
        return PROGRAMS
    rule = RULES[guess.kind]
    if guess.kind not in SHOTS:
        return rule
    path = EXAMPLES / f"{guess.kind}.yaml"
    shown = path if folder else path.relative_to(REPOSITORY)
    return f"{rule.removesuffix('}')}, shots: {json.dumps(str(shown), ensure_ascii=False)}}}"


def _possible(model: str) -> bool:
    """Whether `model` is a folder, or could be a name of the hub: at most one slash, none in front."""
    return Path(model).is_dir() or (model.count("/") <= 1 and not model.startswith(("/", "./", "../", "~")))


def _told(name: str, model: str, sources: Sequence[Mapping[str, Any]], guess: Guess, **said: str) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    columns = {**guess.columns, **({"facets": list(guess.facets)} if guess.facets else {})}
    if guess.template:
        columns.pop("question")
    gpu = shutil.which("nvidia-smi") is not None
    return environment.from_string(OWN.read_text()).render(
        name=name,
        model=model,
        paths=[source["path"] for source in sources],
        sources=[{"delimiter": "", **source} for source in sources],
        guess=guess,
        columns=_flow(columns),
        **said,
        template=_chats(model),
        gpu=gpu,
        engine="vllm" if importlib.util.find_spec("vllm") is not None else "transformers",
        tokens=512 if guess.kind == "code" else 256,
    )


def _chats(model: str) -> bool:
    """Whether a model has a chat template: its folder tells, of the hub its name."""
    folder = Path(model)
    if folder.is_dir():
        config = folder / "tokenizer_config.json"
        told = config.read_text(errors="replace") if config.is_file() else ""
        return (folder / "chat_template.jinja").is_file() or '"chat_template"' in told
    return any(word in model.lower() for word in CHATS)


def _flow(value: Any) -> str:
    """As YAML in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    plain = value.isidentifier() and value.lower() not in ("null", "true", "false")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _checked(name: str) -> None:
    try:
        named(name)
    except PydanticCustomError as error:
        raise UserError("new", name, error.message()) from None


def _placed(name: str, folder: Path | None, text: str) -> Path:
    _checked(name)
    path = (folder or EXPERIMENTS) / f"{name}.yaml"
    try:
        content = text.encode()
        with path.open("xb") as file:
            file.write(content)
    except UnicodeEncodeError:
        raise UserError("new", "--problems", "expected columns whose names are text in UTF-8") from None
    except FileExistsError as error:
        raise UserError(path, name, "exists already; expected a new name") from error
    except OSError as error:
        raise UserError(path, name, f"cannot be written ({error.strerror})") from error
    return path


def remarks(written: Written) -> list[str]:
    """What was guessed, and what of it to look at."""
    guess = written.guess
    gold = guess.columns["gold"]
    named = gold if isinstance(gold, str) else " and ".join(gold.values())
    after = f", behind {guess.gold_after!r}" if guess.gold_after else ""
    asks = "several columns" if guess.template else f"column {guess.columns['question']}"
    grouped = (
        " (numbers, some of them with signs that number cannot read)" if guess.numeric and guess.kind == "math" else ""
    )
    told = f"{written.path}: {asks} asks, {named} knows{after}; answers are compared as kind {guess.kind}{grouped}"
    return [told, *(f"look at it: {doubt}" for doubt in guess.unsure)]
