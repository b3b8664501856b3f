"""The name of an experiment: it stands in folders, in keys and groups of assets, in tracking, beside names of ours."""

import re
from typing import Final

from perseid.mistakes import mistake

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")  # as long as a tag of Dagster may be
VERSION: Final = re.compile(r"[0-9a-f]{16}")
TAKEN: Final = {"current"}  # the pointer to the version that counts


def named(name: str) -> str:
    """`name` if an experiment can have it; raises a mistake."""
    if not NAME.fullmatch(name):
        raise mistake("", "expected small letters, digits and _, a letter first, at most 63")
    if VERSION.fullmatch(name):
        raise mistake("", "expected another name: sixteen hex digits are a version")
    if name in TAKEN:
        raise mistake("", f"expected another name: {name} has a meaning of its own among the artifacts")
    if "__" in name:
        raise mistake("", "expected no two _ in a row: they part an experiment from its round")
    return name
