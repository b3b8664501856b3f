"""How a question and its steps are written for a model, and read back: a file a format.

`tools` is of models that were made for it; the others are told in words, by templates and examples beside them.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from perseid.formats import chain, code_steps, tools
from perseid.formats.format import Draft, Format
from perseid.formats.tools import TOOLS

__all__ = ["TOOLS", "AnyFormat", "Draft", "Format", "ToolsFormat", "WordedFormat", "format_of", "unreadable"]


def _kind_named(value: Any) -> Any:
    """A name alone is that kind as it comes."""
    if isinstance(value, str):
        return {"kind": value}
    return {"kind": "code_steps", **value} if isinstance(value, dict) else value


def _tools_named(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


ToolsFormat = Annotated[tools.Settings, BeforeValidator(_tools_named)]
WordedFormat = Annotated[
    code_steps.Settings | chain.Settings, Field(discriminator="kind"), BeforeValidator(_kind_named)
]
AnyFormat = tools.Settings | code_steps.Settings | chain.Settings


def format_of(settings: AnyFormat) -> Format:
    """The format that a section tells of, its files as they were when the experiment was read."""
    if isinstance(settings, code_steps.Settings):
        return code_steps.format_of(settings)
    return chain.format_of(settings) if isinstance(settings, chain.Settings) else tools.format_of(settings)


def unreadable(settings: AnyFormat, root: Path) -> tuple[str, str] | None:
    """Read the format's files; the key and what was expected where that fails. root: of relative paths."""
    return None if isinstance(settings, tools.Settings) else settings.unreadable(root)
