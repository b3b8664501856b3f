"""What a root knows of the experiment behind a name: the file that holds the name, and the artifacts of its graph now.

It stands in `<root>/<experiment>/graph.json`, written by what makes artifacts. Artifacts that are of no stage any more
(a round that was taken out, shards that are fewer) stay in the store; what asks for the present ones leaves them out.

**Another file** is one that stands elsewhere and says something else. Not another file is: the same path, edited or
not; the same path seen from the root, where project and root moved together; and a file that decides the same results
as the one known here, moved or copied, because nothing would be made otherwise. While the known file is there, a copy
does not take the name from it: once the two differ, the copy is another file.
"""

import json
import os
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from perseid.artifacts.disk import content_of, make_folder, replace_file, writing
from perseid.artifacts.manifest import Frozen
from perseid.errors import UserError

FILE: Final = "graph.json"


class Present(Frozen):
    """file: absolute path of the experiment file. beside: its path seen from the root. content: hash of what decides
    its results. artifacts: keys of all that its graph has."""

    file: str
    beside: str
    content: str
    artifacts: tuple[str, ...]


def of(root: Path, file: Path, content: str, artifacts: tuple[str, ...]) -> Present:
    absolute = file.resolve()
    return Present(
        file=str(absolute), beside=os.path.relpath(absolute, root.resolve()), content=content, artifacts=artifacts
    )


def known(root: Path, experiment: str) -> Present | None:
    """What stands there; None where nothing was made since names are held. Raises `UserError` for a damaged file."""
    path = root / experiment / FILE
    try:
        return Present.model_validate_json(content_of(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise UserError(path, "", "damaged; delete it and run the experiment again, nothing is lost") from error


def refuse_another(root: Path, experiment: str, now: Present) -> None:
    """Raises `UserError` while another file holds the name."""
    there = known(root, experiment)
    if there is not None and not _same(there, now):
        held = f"{experiment!r} is the experiment of {there.file} in {root}"
        raise UserError(now.file, "name", f"{held}; expected another name or --root, or evolve --take-over")


def record(root: Path, experiment: str, now: Present, take_over: bool = False) -> None:
    """Note what the graph is now, and whose. Raises `UserError` while another file holds the name."""
    if not take_over:
        refuse_another(root, experiment, now)
        there = known(root, experiment)
        if there is not None and not _same_place(there, now) and Path(there.file).exists():  # a copy: the name stays
            now = now.model_copy(update={"file": there.file, "beside": there.beside})
    path = root / experiment / FILE
    written = (json.dumps(now.model_dump(), indent=1) + "\n").encode()
    if not path.exists() or content_of(path) != written:
        with writing(path):
            make_folder(path.parent)
        replace_file(path, written)


def _same(there: Present, now: Present) -> bool:
    return _same_place(there, now) or there.content == now.content


def _same_place(there: Present, now: Present) -> bool:
    moved = not Path(there.file).exists()
    return there.file == now.file or (moved and there.beside == now.beside)
