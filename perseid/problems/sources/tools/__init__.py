"""The toy: `reasoning-gym` questions that programs answer by calling a small library, and a teacher that shows some.

A small Llama bootstrapped on what the teacher writes must discover which functions solve the families that it was not
shown. The library is the source's prelude; its promises about the splits are its own check.
"""

from perseid.problems.sources.tools.settings import Pool, Settings

__all__ = ["SETTINGS", "Pool", "Settings"]

SETTINGS = Settings
