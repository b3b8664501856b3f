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
from perseid.errors import UserError
from perseid.experiment import Experiment, load_experiment

REPOSITORY = Path(__file__).resolve().parent.parent
EXPERIMENTS = REPOSITORY / "experiments"
DEFAULT_ROOT = REPOSITORY / "var" / "artifacts"
INSTANCE_FILE = Path(__file__).with_name("dagster.yaml")


@dataclass(frozen=True)
class Places:
    root: Path
    dagster: Path
    mlflow: Path

    @classmethod
    def of(cls, root: Path | str | None = None) -> "Places":
        """From the argument, else `PERSEID_ROOT`, else the default; `DAGSTER_HOME` names another instance."""
        chosen = nameable(Path(root or os.environ.get("PERSEID_ROOT") or DEFAULT_ROOT)).expanduser().resolve()
        beside = chosen.parent if chosen == DEFAULT_ROOT else chosen
        hidden = "" if chosen == DEFAULT_ROOT else "."
        home = os.environ.get("DAGSTER_HOME")
        dagster = Path(home).resolve() if home and root is None else beside / f"{hidden}dagster"
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


def nameable(path: Path) -> Path:
    """`path`, unless its name cannot be printed and written down. Raises `UserError`."""
    if not str(path).isprintable():  # neither are bytes that are no UTF-8
        raise UserError(ascii(str(path)), "root", "expected a name that can be printed, in UTF-8")
    return path


def sqlite_uri(path: Path) -> str:
    """The address of a SQLite file for SQLAlchemy, whatever stands in its name. Its folder must exist."""
    return f"sqlite:///{plain(path)}"


def experiment_file(name: str) -> Path:
    """The file that `name` means: a path, or a name in `experiments/`. Raises `UserError` listing those there are."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return Path(name)
    path = EXPERIMENTS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in EXPERIMENTS.glob("*.yaml"))) or "none yet"
        raise UserError(EXPERIMENTS, name, f"no such experiment; expected a path or one of: {known}")
    return path


def all_experiments(folder: Path = EXPERIMENTS) -> list[Experiment]:
    """Every experiment of `folder`, by name. Raises `UserError` for two of one name."""
    found: dict[str, Experiment] = {}
    for path in sorted(folder.glob("*.yaml")):
        experiment = load_experiment(path)
        if experiment.name in found:
            raise UserError(path, "name", f"expected a name of its own, found {experiment.name!r} again")
        found[experiment.name] = experiment
    return list(found.values())
