"""A question made of the columns of a row: as it stands, between a prefix and a suffix, or by a Jinja template.

Templates run in Jinja's sandbox, and know the row's columns alone; a column that a row lacks is an error, not "".
Nothing in them is drawn by chance: the same row is the same question.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_CHARACTERS: Final = 1_000_000  # of a question
ENVIRONMENT: Final = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
del ENVIRONMENT.globals["lipsum"], ENVIRONMENT.filters["random"]


class PhrasingError(ValueError):
    """A question that cannot be put; its text says why."""


@lru_cache(maxsize=64)
def columns_of(template: str) -> frozenset[str]:
    """The columns that a template names. Raises `PhrasingError` for one that is no template."""
    try:
        _compiled(template)  # where filters and tests have to be known
        return frozenset(meta.find_undeclared_variables(ENVIRONMENT.parse(template)))
    except (TemplateError, RecursionError) as error:
        raise PhrasingError(f"expected a Jinja template: {error or type(error).__name__}") from None


def rendered(template: str, row: Mapping[str, Any]) -> str:
    """The question of a row. Raises `PhrasingError`."""
    text, parts = 0, []
    try:
        for part in _compiled(template).generate(row):
            parts.append(part)
            text += len(part)
            if text > MAX_CHARACTERS:
                raise PhrasingError(f"the template makes more than {MAX_CHARACTERS:,} characters of it")
    except PhrasingError:
        raise
    except Exception as error:  # of the template's own expressions: whatever the row makes of them
        raise PhrasingError(f"the template fails: {error or type(error).__name__}") from None
    return "".join(parts)


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    return ENVIRONMENT.from_string(template)
