"""How trees grow: a file a method, each ending with `METHOD`."""

import importlib
import pkgutil
from typing import cast

from perseid.errors import UserError
from perseid.search.method import Method


def method_named(name: str) -> Method:
    """`METHOD` of `perseid.methods.<name>`. Raises `UserError` listing the methods there are."""
    known = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if name not in known:
        raise UserError("method", name, f"expected one of {', '.join(known)}")
    return cast(Method, importlib.import_module(f"{__name__}.{name}").METHOD)
