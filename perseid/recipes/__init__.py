"""Which stages the rounds of an experiment have: a file a recipe, each with a function `stages`."""

import importlib
import pkgutil
from typing import cast

from perseid.mistakes import mistake, unknown
from perseid.recipes.stage import Recipe, Refs, Stage, base, before, earlier, here, of_round, once, so_far

__all__ = [
    "Recipe",
    "Refs",
    "Stage",
    "base",
    "before",
    "earlier",
    "here",
    "known",
    "method_named_by",
    "of_round",
    "once",
    "recipe_named",
]
__all__ += ["recipes", "so_far"]


def recipes() -> list[str]:
    """The names of the recipes there are."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [name for name in names if hasattr(importlib.import_module(f"{__name__}.{name}"), "stages")]


def known(name: str) -> str:
    """`name`, if a recipe is called so."""
    if name not in recipes():
        raise mistake("", unknown(name, recipes()))
    return name


def method_named_by(name: object) -> str:
    """The kind of method that a recipe has where the file says none; "" where it leaves that to the default."""
    return str(getattr(recipe_named(name), "METHOD", "")) if isinstance(name, str) and name in recipes() else ""


def recipe_named(name: str) -> Recipe:
    """`perseid.recipes.<name>`, one of `recipes()`."""
    return cast(Recipe, importlib.import_module(f"{__name__}.{name}"))
