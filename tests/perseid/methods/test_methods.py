import pytest
from pydantic import TypeAdapter, ValidationError

from perseid.formats import TOOLS
from perseid.methods import FILES, MethodSettings, flat, method_of, rstar_math, version_of
from perseid.methods.flat import Flat
from perseid.methods.rstar_math import RStarMath

SECTION = TypeAdapter[object](MethodSettings)


def test_a_method_is_found_by_the_name_of_its_file() -> None:
    assert list(FILES) == ["flat", "rstar_math"]
    assert method_of(rstar_math.Settings(), TOOLS) == RStarMath(rstar_math.Settings(), TOOLS)
    assert method_of(flat.Settings(samples=3), TOOLS, shots=True) == Flat(flat.Settings(samples=3), TOOLS, True)


def test_a_name_alone_is_that_kind_at_its_defaults_and_no_kind_is_rstar_math() -> None:
    assert SECTION.validate_python("flat") == flat.Settings()
    assert SECTION.validate_python({"rollouts": 3}) == rstar_math.Settings(rollouts=3)
    assert SECTION.validate_python({"kind": "flat", "samples": 3}) == flat.Settings(samples=3)
    with pytest.raises(ValidationError):
        SECTION.validate_python({"kind": "flat", "rollouts": 3})


def test_the_version_of_a_method_is_named_by_its_kind() -> None:
    assert version_of(flat.Settings(samples=3)) == f"flat {flat.VERSION}"
    assert version_of(rstar_math.Settings()) == f"rstar_math {rstar_math.VERSION}"


@pytest.mark.parametrize("section", [rstar_math.Settings(), flat.Settings()])
def test_all_that_changes_its_trees_is_in_its_key(section: object) -> None:
    kind = type(section)
    changed = {"temperature": 0.5, "top_k": 3, "limit_nodes": 4, "ppm": True}
    keys = [method_of(kind(**{name: value}), TOOLS).key for name, value in changed.items()]
    keys += [method_of(kind(), TOOLS, shots=shots).key for shots in (False, True)]
    assert len(set(keys)) == 2 + len(changed)
