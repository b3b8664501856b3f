"""How trees grow: a file a method, with its `Settings` (the section `method` of that kind), `METHOD` and `VERSION`."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union

from pydantic import BeforeValidator, Field

from perseid.formats import Format
from perseid.search.method import Method
from perseid.search.settings import MethodSection

DEFAULT: Final = "rstar_math"
FILES: Final[dict[str, ModuleType]] = {
    name: importlib.import_module(f"{__name__}.{name}")
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__))
}


def method_of(section: MethodSection, format: Format, *, shots: bool = False) -> Method:
    """The method that `section` tells of, over `format`. shots: models are shown worked examples."""
    made: Method = _file(section).METHOD(section, format, shots)
    return made


def version_of(section: MethodSection) -> str:
    """What of the method is not in its settings and changes trees."""
    return f"{section.kind} {_file(section).VERSION}"


def _file(section: MethodSection) -> ModuleType:
    return FILES[section.kind]


def _kind_named(value: Any) -> Any:
    """A name alone is that kind at its defaults."""
    if isinstance(value, str):
        return {"kind": value}
    return {"kind": DEFAULT, **value} if isinstance(value, dict) else value


if TYPE_CHECKING:
    MethodSettings = MethodSection
else:
    MethodSettings = Annotated[
        Union[tuple(file.Settings for file in FILES.values())],  # noqa: UP007
        Field(discriminator="kind"),
        BeforeValidator(_kind_named),
    ]
