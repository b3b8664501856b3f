"""`new`: an experiment file to start from, every key with its unit and reason."""

from pathlib import Path

from pydantic_core import PydanticCustomError

from orchestration.places import EXPERIMENTS
from perseid.errors import UserError
from perseid.naming import named

TEMPLATE = Path(__file__).with_name("new_experiment.yaml")


def write(name: str, folder: Path | None = None) -> Path:
    """Write `<folder>/<name>.yaml`. Raises `UserError` for a bad name, a file that exists, a folder that refuses."""
    try:
        named(name)
    except PydanticCustomError as error:
        raise UserError("new", name, error.message()) from None
    path = (folder or EXPERIMENTS) / f"{name}.yaml"
    text = TEMPLATE.read_text().replace("name: NAME", f"name: {name}", 1)
    try:
        with path.open("x") as file:
            file.write(text)
    except FileExistsError as error:
        raise UserError(path, name, "exists already; expected a new name") from error
    except OSError as error:
        raise UserError(path, name, f"cannot be written ({error.strerror})") from error
    return path
