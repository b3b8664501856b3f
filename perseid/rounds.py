"""What a round changes of an experiment: partial sections, laid over the experiment's own.

Any section can change from round to round, but for what the rounds have in common: the name, the seed and the recipe,
what the problems are (a round has a pool of them), the models that all of it is about, and the rule by which rounds are
compared.
"""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, TypeAdapter, model_validator

from perseid.mistakes import mistake
from perseid.section import DISCRIMINATOR, Section

# Keys of an experiment that no round changes; `problems` but for its pool.
COMMON: Final = (
    *("name", "description", "seed", "recipe", "problems", "graders", "models", "gate", "control", "shards", "rounds"),
)


def _kind(value: Any) -> Any:
    """A method's name alone is that kind at its defaults."""
    return {"kind": value} if isinstance(value, str) else value


class Round(Section):
    """Partial sections, by their key; mappings are merged key by key."""

    pool: dict[str, Any] = {}
    method: Annotated[dict[str, Any], BeforeValidator(_kind)] = {}
    selection: dict[str, Any] = {}
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    engine: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _nothing_in_common(cls, value: Any) -> Any:
        for key in value if isinstance(value, dict) else ():
            if key in COMMON:
                keys = ", ".join(cls.model_fields)
                raise mistake(key, f"is the same in all rounds; expected what a round can change: {keys}")
        return value


def merged(section: Section, overrides: dict[str, Any], kind: Any = None) -> Any:
    """`section` with `overrides` laid over it, mappings merged key by key, validated anew as `kind` (its own type).

    Where they name another kind of it, nothing of the section is left.
    """
    if not overrides:
        return section
    tags = [name for name, field in type(section).model_fields.items() if DISCRIMINATOR in field.metadata]
    is_another = any(overrides.get(tag, getattr(section, tag)) != getattr(section, tag) for tag in tags)
    below = {} if is_another else section.model_dump()
    return TypeAdapter(kind or type(section)).validate_python(overlay(below, overrides))


def overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, `over` winning; where both have a mapping, that again."""
    both = {k: overlay(base[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **over, **both}
