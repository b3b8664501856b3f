"""How a question and its steps are written for a model, and read back: a file a format."""

from perseid.formats.format import Draft, Format
from perseid.formats.tools import TOOLS

__all__ = ["TOOLS", "Draft", "Format"]
