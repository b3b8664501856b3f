"""A part of an experiment file, and its canonical form: what of it decides a result.

`canonical` leaves out what stands at its default and what is operational (how the work is done, not what comes out),
and always keeps a discriminator. So a new option makes no artifact stale, and neither does another port or time limit.
A default that changes is not seen by it: a golden test names the makers whose version must then be raised.
"""

from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict


class Role(Enum):
    """What a field is to versions, where it is not simply a setting: `Annotated[int, OPERATIONAL]`."""

    OPERATIONAL = "operational"  # changes how, where or how fast, never what comes out
    DISCRIMINATOR = "discriminator"  # says which kind of section this is


OPERATIONAL: Final = Role.OPERATIONAL
DISCRIMINATOR: Final = Role.DISCRIMINATOR


class Section(BaseModel):
    """A part of an experiment: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def canonical(value: Any) -> Any:
    """What of a section (or a sequence or mapping of sections and plain values) decides a result, as JSON holds it."""
    if isinstance(value, Section):
        return {name: canonical(getattr(value, name)) for name in type(value).model_fields if _decides(value, name)}
    if isinstance(value, dict):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value


def _decides(section: Section, name: str) -> bool:
    field = type(section).model_fields[name]
    if DISCRIMINATOR in field.metadata:
        return True
    if OPERATIONAL in field.metadata:
        return False
    default = field.get_default(call_default_factory=True)  # compared in canonical form: a port inside changes nothing
    return field.is_required() or canonical(getattr(section, name)) != canonical(default)
