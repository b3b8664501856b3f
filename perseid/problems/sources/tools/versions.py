"""What of the toy decides results, by its content: what is asked, and the library that programs call."""

import hashlib
import io
import tokenize
from pathlib import Path

from perseid.problems.sources.tools import drawing, families


def families_version() -> str:
    """16 hex digits of what is declared of the families, comments apart, and of how questions are drawn from them."""
    declared = Path(families.__file__).read_text(encoding="utf-8")
    return hashlib.sha256(f"{drawing.VERSION}\0{without_comments(declared)}".encode()).hexdigest()[:16]


def without_comments(code: str) -> str:
    """The tokens of a Python text: comments, blank lines and line breaks inside brackets change nothing of it."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return "".join(token.string for token in tokens if token.type not in (tokenize.COMMENT, tokenize.NL))


def toolbox_source() -> str:
    """The library's source text, for the sandbox's prelude."""
    return Path(__file__).with_name("toolbox.py").read_text(encoding="utf-8")
