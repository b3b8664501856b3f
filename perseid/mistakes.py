"""What is wrong with a section, in one line: the key as the user counts, what was expected there, the nearest name.

Lists count from 1. A key of an address (`://`) may hold a password, and is never shown.
"""

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from perseid.document import printable
from perseid.section import DISCRIMINATOR, Section

Location = Sequence[str | int]


def mistake(key: str, expected: str) -> PydanticCustomError:
    """To be raised by a section's validator: `key` is counted from that section."""
    return PydanticCustomError("mistake", "{expected}", {"key": key, "expected": expected})


def described(error: ValidationError, section: type[Section]) -> tuple[str, str]:
    """The key and what was expected there, of the mistake that explains most.

    An unknown key comes first: it is often the reason why another is missing.
    """
    found = error.errors(include_url=False)
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    place = _Place(section)
    for part in first["loc"]:
        place.enter(part)
    tag = discriminator_in(place.here) if first["type"] == "union_tag_invalid" else ""
    inner = {"mistake": first.get("ctx", {}).get("key", ""), "union_tag_invalid": tag}.get(first["type"], "")
    return ".".join(filter(None, (*place.shown, inner))), _expected(first, place)


class _Place:
    """Where a location leads, by the types on the way: pydantic's names of a union's members are no keys."""

    def __init__(self, section: type[Section]) -> None:
        self.shown: list[str] = []
        self.here: Any = section
        self.owner: type[Section] = section
        self.kinds: Mapping[str, type[Section]] = {}
        self.metadata: Sequence[Any] = ()

    def enter(self, part: str | int) -> None:
        kinds = kinds_of(self.here)
        if isinstance(part, str) and part in kinds:
            self.here, self.kinds = kinds[part], kinds
            return
        self.shown.append(str(part + 1) if isinstance(part, int) else printable(part))
        if section := section_in(self.here):
            field = section.model_fields.get(str(part))
            self.owner, self.here = section, field.annotation if field else None
            self.metadata = field.metadata if field else ()
            self.kinds = {} if field else self.kinds  # below a key that a kind has, no other kind is meant
        elif get_origin(self.here) is dict:
            self.here, self.metadata = get_args(self.here)[1], ()
        elif get_origin(self.here) is tuple:
            self.here, self.metadata = get_args(self.here)[0], ()
        else:
            self.here, self.metadata = None, ()


def section_in(annotation: Any) -> type[Section] | None:
    """The section that an annotation means, `X` or `X | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        found = [a for a in get_args(annotation) if a is not type(None)]
        return section_in(found[0]) if len(found) == 1 else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def kinds_of(annotation: Any) -> Mapping[str, type[Section]]:
    """The sections of a union, by the kind that each is."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return {}
    sections = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, Section)]
    if len(sections) < 2:
        return {}
    return {get_args(s.model_fields[discriminator_of(s)].annotation)[0]: s for s in sections}


def discriminator_of(section: type[Section]) -> str:
    """The field that says which of several kinds a section is."""
    return next(name for name, field in section.model_fields.items() if DISCRIMINATOR in field.metadata)


def discriminator_in(annotation: Any) -> str:
    """The same of a union of sections; "" where there is no kind to choose."""
    return next((discriminator_of(section) for section in kinds_of(annotation).values()), "")


def _expected(error: Any, place: _Place) -> str:
    kind, found = error["type"], shown(error["input"])
    if kind == "mistake":
        return str(error["ctx"]["expected"])
    if kind == "extra_forbidden":
        key = str(error["loc"][-1])
        tag = discriminator_of(place.owner) if place.kinds else ""
        if others := [kind for kind, section in place.kinds.items() if key in section.model_fields]:
            return f"has no effect here; it is a key of {tag} {' and '.join(others)} alone"
        return no_such_key(key, place.owner.model_fields)
    if kind == "union_tag_invalid":
        return unknown(str(error["ctx"]["tag"]), list(kinds_of(place.here)))
    if kind in ("too_short", "too_long"):
        limits = error["ctx"]
        bound = f"at least {limits['min_length']}" if kind == "too_short" else f"at most {limits['max_length']}"
        return f"expected a list of {bound}, found {limits['actual_length'] or 'none'}"
    wanted = described_type(place.here, place.metadata)
    if kind == "missing":
        return f"expected {wanted}; it is missing"
    if kind == "literal_error" and isinstance(error["input"], str):
        return unknown(error["input"], get_args(place.here))
    return f"expected {wanted}, found {found}"


def no_such_key(key: str, keys: Iterable[str]) -> str:
    """What there is instead of a key that nobody knows, the nearest first."""
    return f"there is no such key{nearest(key, keys)}; expected one of {', '.join(keys)}"


def unknown(name: str, names: Iterable[str]) -> str:
    """What there is instead of a name that nobody knows."""
    return f"{shown(name)} is not known{nearest(name, names)}; expected one of {', '.join(names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    found = difflib.get_close_matches(name.lower()[:80], list(names), 1)
    return f" (did you mean {found[0]}?)" if found else ""


def described_type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """What a field takes, in words."""
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        return "a list"
    if get_origin(annotation) in (Union, types.UnionType):  # a plain value, or nothing
        [annotation, *others] = [inner for inner in get_args(annotation) if inner is not type(None)]
        annotation = annotation if not others else None
    if get_origin(annotation) is Annotated:
        annotation, *inner = get_args(annotation)
        metadata = [bound for one in inner for bound in getattr(one, "metadata", [one])]
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if annotation in words:
        return words[annotation] + _range(metadata)
    return "keys and their values"


def _range(metadata: Sequence[Any]) -> str:
    low, high = "(-∞", "∞)"
    for bound in metadata:
        match bound:
            case Ge(ge=value):
                low = f"[{_brief(value)}"
            case Gt(gt=value):
                low = f"({_brief(value)}"
            case Le(le=value):
                high = f"{_brief(value)}]"
            case Lt(lt=value):
                high = f"{_brief(value)})"
    return f" in {low}, {high}" if (low, high) != ("(-∞", "∞)") else ""


def _brief(number: Any) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def shown(value: Any) -> str:
    """A value of the file as a message shows it: short, printable, and no address."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return "an address" if "://" in value else f"'{printable(value)}'"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"
    if isinstance(value, float):
        return repr(value)
    return "a list" if isinstance(value, list | tuple) else "keys"
