"""Where things lie: artifacts, the Dagster instance, the tracking store, the experiment files.

Everything of a run lies below one artifact root. The default root `var/artifacts` has Dagster and MLflow beside it
(`var/dagster`, `var/mlflow`); another root holds them inside, so that two roots share nothing.
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from perseid.artifacts.addresses import plain
from perseid.artifacts.disk import replace_file
from perseid.artifacts.leases import holder, lease
from perseid.artifacts.store import LEASES
from perseid.errors import UserError, printable
from perseid.experiment import Experiment, load_experiment
from perseid.mistakes import nearest

REPOSITORY = Path(__file__).resolve().parent.parent
EXPERIMENTS = REPOSITORY / "experiments"
DEFAULT_ROOT = REPOSITORY / "var" / "artifacts"
HOME = "DAGSTER_HOME"  # the environment variable that names another instance
INSTANCE_FILE = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class Places:
    root: Path
    dagster: Path
    mlflow: Path

    @classmethod
    def of(cls, root: Path | str | None = None) -> "Places":
        """From the argument, else `PERSEID_ROOT`, else the default; `DAGSTER_HOME` names another instance."""
        chosen = resolved(nameable(Path(root or os.environ.get("PERSEID_ROOT") or DEFAULT_ROOT)))
        beside = chosen.parent if chosen == DEFAULT_ROOT else chosen
        hidden = "" if chosen == DEFAULT_ROOT else "."
        home = os.environ.get(HOME)
        dagster = resolved(nameable(Path(home), HOME), HOME) if home and root is None else beside / f"{hidden}dagster"
        return cls(chosen, dagster, beside / f"{hidden}mlflow")

    def there(self, named: bool) -> None:
        """Raises `UserError` where the root can hold nothing to read."""
        if self.root.is_dir() or (not named and not self.root.exists()):
            return
        found = "a file" if self.root.exists() else "nothing"
        raise UserError(self.root, "root", f"expected a folder of artifacts, found {found}; evolve makes it")

    def prepare(self) -> None:
        """Make the folders, and the instance's settings where there are none.

        Raises `UserError` naming the folder that cannot be written.
        """
        for folder in (self.root, self.dagster, self.mlflow):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / f".writable-{os.getpid()}"
                probe.touch()
                probe.unlink()
            except OSError as error:
                raise UserError(folder, "root", f"expected a folder that can be written ({error.strerror})") from error
        settings = self.dagster / "dagster.yaml"
        if not settings.exists():
            replace_file(settings, INSTANCE_FILE.read_bytes())

    def evolving(self, experiment: str) -> AbstractContextManager[None]:
        """Hold the experiment against a second `evolve`. Raises `UserError` naming who runs it."""
        return lease(self._lease(experiment), experiment)

    def is_evolving(self, experiment: str) -> bool:
        return holder(self._lease(experiment)) is not None

    def _lease(self, experiment: str) -> Path:
        return self.root / experiment / LEASES / "evolve"


def nameable(path: Path, key: str = "root") -> Path:
    """`path`, unless its name cannot be printed and written down. Raises `UserError`."""
    if not str(path).isprintable():  # neither are bytes that are no UTF-8
        raise UserError(ascii(str(path)), key, "expected a name that can be printed, in UTF-8")
    return path


def resolved(path: Path, key: str = "root") -> Path:
    """`path` from the top, without links. Raises `UserError` where there is no such way."""
    try:
        whole = path.expanduser().resolve()
        whole.exists()  # a name that is too long is found here
    except (OSError, RuntimeError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        raise UserError(printable(str(path)), key, f"expected the path of a folder ({printable(reason)})") from error
    return whole


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite file for SQLAlchemy, whatever stands in its name. Its folder must exist."""
    return f"sqlite:///{plain(path)}"


def experiment_file(name: str) -> Path:
    """The file that `name` means: a path, or a name in `experiments/`. Raises `UserError` listing those there are."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    known = sorted(file.stem for file in experiment_files(EXPERIMENTS))
    if name not in known:
        there = ", ".join(known) or "none yet"
        raise UserError(
            EXPERIMENTS, name, f"no such experiment{nearest(name, known)}; expected a path or one of: {there}"
        )
    return EXPERIMENTS / f"{name}.yaml"


def experiment_files(folder: Path) -> list[Path]:
    """In the order of their names; what an editor hides beside them is none."""
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("."))


@dataclass(frozen=True)
class Found:
    """The experiments of a folder, and for each file that holds none the reason."""

    experiments: list[Experiment]
    broken: dict[Path, str]


def all_experiments(folder: Path = EXPERIMENTS) -> Found:
    """Every experiment of `folder`. A broken file, or the second of one name, keeps no other from being found."""
    found: dict[str, tuple[Path, Experiment]] = {}
    broken = {}
    for path in experiment_files(folder):
        try:
            experiment = load_experiment(path)
            if experiment.name in found:
                first = found[experiment.name][0].name
                raise UserError(path, "name", f"expected a name of its own, found that of {first}, {experiment.name}")
        except UserError as error:
            broken[path] = str(error)
        else:
            found[experiment.name] = path, experiment
    return Found([experiment for _, experiment in found.values()], broken)
