"""The one exception that means "the user can mend this": it names the file, the key and what was expected.

And how text that others wrote (a model, a server, a file) is shown: on one line, of a bounded length, and with nothing
in it that a terminal would obey.
"""

from typing import Final

SHOWN: Final = 300  # characters


class UserError(ValueError):
    """Bad input. The command line prints it as one line and exits with status 2; nothing is lost."""

    def __init__(self, where: object, key: str, expected: str) -> None:
        self.where, self.key, self.expected = str(where), key, expected
        super().__init__(f"{where}: {key}: {expected}" if key else f"{where}: {expected}")


def printable(text: str, limit: int = SHOWN) -> str:
    """`text` on one line of at most `limit` characters, "…" where it was cut; what is not printable is escaped."""
    line = " ".join(text[: 8 * limit].split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in line)
    return shown if len(shown) <= limit and len(text) <= 8 * limit else f"{shown[: limit - 1]}…"
