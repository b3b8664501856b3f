"""A part of an experiment file, and its canonical form: what of it decides a result.

`canonical` leaves out what stands at its default and what is operational (how the work is done, not what comes out),
and always keeps a discriminator. So a new option makes no artifact stale, and neither does another port or time limit.
A default that changes is not seen by it: a golden test names the makers whose version must then be raised.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict


class Role(Enum):
    """What a field is to versions, where it is not simply a setting: `Annotated[int, OPERATIONAL]`."""

    OPERATIONAL = "operational"  # changes how, where or how fast, never what comes out
    DISCRIMINATOR = "discriminator"  # says which kind of section this is


OPERATIONAL: Final = Role.OPERATIONAL
DISCRIMINATOR: Final = Role.DISCRIMINATOR


class Section(BaseModel):
    """A part of an experiment: immutable, and a key it does not know is an error.

    Strict: `true` is no number, and text is none either. A field that is a list says `Strict(False)`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def canonical(value: Any) -> Any:
    """What of a section (or a sequence or mapping of sections and plain values) decides a result, as JSON holds it."""
    if isinstance(value, Section):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields if _decides(value, name)}
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def changed(section: Section, keys: Iterable[str]) -> list[str]:
    """Those of `keys` that ask for something and are not at their default."""
    fields = type(section).model_fields
    return [key for key in keys if getattr(section, key) not in (0, fields[key].default)]


def deciding(section: Section, paths: Sequence[str]) -> dict[str, Any]:
    """By path, what decides a result of the parts that `paths` name ("training.policy", "-training.policy.history").

    A path with "-" before it leaves out a field of a section that another path names. A field that is named itself is
    read, and so it stands there whatever its role and default.
    """
    return _picked(section, paths, canonical)


def resolved(section: Section, paths: Sequence[str]) -> dict[str, Any]:
    """The same parts in full: defaults and operational fields too."""
    return _picked(section, paths, _plain)


def visible(section: Section, paths: Sequence[str]) -> SimpleNamespace:
    """The parts that `paths` name, as attributes: reading anything else is an `AttributeError`."""
    top = SimpleNamespace()
    for path in paths:
        if not path.startswith("-"):
            *parents, last = path.split(".")
            inner = top
            for parent in parents:
                inner = inner.__dict__.setdefault(parent, SimpleNamespace())
            setattr(inner, last, attrgetter(path)(section))
    return top


def _picked(section: Section, paths: Sequence[str], form: Callable[[Any], Any]) -> dict[str, Any]:
    found = {path: form(attrgetter(path)(section)) for path in paths if not path.startswith("-")}
    for path in paths:
        if path.startswith("-"):
            whole, _, field = path[1:].rpartition(".")
            found[whole].pop(field, None)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _decides(section: Section, name: str) -> bool:
    field = type(section).model_fields[name]
    if DISCRIMINATOR in field.metadata:
        return True
    if OPERATIONAL in field.metadata:
        return False
    default = field.get_default(call_default_factory=True)  # compared in canonical form: a port inside changes nothing
    return field.is_required() or canonical(getattr(section, name)) != canonical(default)
