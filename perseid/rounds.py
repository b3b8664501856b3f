"""What a round changes of an experiment: partial sections, laid over the experiment's own."""

from typing import Any, TypeVar

from perseid.section import Section

S = TypeVar("S", bound=Section)


class Round(Section):
    """Partial sections, by their key; mappings are merged key by key."""

    pool: dict[str, Any] = {}
    search: dict[str, Any] = {}
    selection: dict[str, Any] = {}
    training: dict[str, Any] = {}


def merged(section: S, overrides: dict[str, Any]) -> S:
    """`section` with `overrides` laid over it, mappings merged key by key, validated anew."""
    return type(section).model_validate(overlay(section.model_dump(), overrides)) if overrides else section


def overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, `over` winning; where both have a mapping, that again."""
    both = {k: overlay(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}
