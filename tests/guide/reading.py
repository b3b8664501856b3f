"""What a guide tells a reader to do: its commands and its blocks, as they stand on the page."""

import re
from pathlib import Path

GUIDES = Path(__file__).resolve().parents[2] / "docs" / "guide"


def commands(page: str) -> list[str]:
    """The lines that call `perseid`, without what stands before and behind them."""
    return [line.strip() for line in (GUIDES / page).read_text().splitlines() if line.startswith("    perseid ")]


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (GUIDES / page).read_text(), re.MULTILINE | re.DOTALL)
