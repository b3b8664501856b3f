"""Named queries: `.sql` files whose header says what they answer and what may be asked of them.

    -- Average Q of the visited nodes by round and depth.
    -- experiment = null: of this experiment only
    -- reads all versions

The first line is the description, then one line a parameter with its default in JSON ("required" where there is none).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from perseid.errors import UserError

PARAMETER: Final = re.compile(r"(\w+) = (.+?): (.+)")
ALL_VERSIONS: Final = "reads all versions"
REQUIRED: Final = "required"


@dataclass(frozen=True)
class Parameter:
    """`default` is a JSON value; it does not count where `required`."""

    name: str
    default: Any
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class Query:
    """`all_versions`: it must see replaced versions as well, whatever is asked."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    sql: str
    all_versions: bool = False

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults overlaid with `values`. Raises `UserError` for a name it does not know or a value it lacks."""
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                raise UserError(f"query {self.name}", name, f"no such parameter; it takes {', '.join(known) or 'none'}")
        for parameter in self.parameters:
            if parameter.required and values.get(parameter.name) is None:
                expected = f"needs a value, --param {parameter.name}=…: {parameter.meaning}"
                raise UserError(f"query {self.name}", parameter.name, expected)
        return {name: values.get(name, parameter.default) for name, parameter in known.items()}


@cache
def named() -> Mapping[str, Query]:
    """All named queries by name, sorted."""
    return {path.stem: read(path) for path in sorted(Path(__file__).parent.glob("*.sql"))}


def read(path: Path) -> Query:
    """A query from its file."""
    text = path.read_text(encoding="utf-8")
    header = [line[3:] for line in text.splitlines() if line.startswith("-- ")]
    matches = [match for line in header[1:] if (match := PARAMETER.fullmatch(line))]
    parameters = tuple(_parameter(*match.groups()) for match in matches)
    return Query(path.stem, header[0], parameters, text, ALL_VERSIONS in header)


def _parameter(name: str, default: str, meaning: str) -> Parameter:
    required = default == REQUIRED
    return Parameter(name, None if required else json.loads(default), meaning, required)
