import pytest

from perseid.errors import UserError
from perseid.methods import method_named
from perseid.methods.rejection import METHOD as REJECTION
from perseid.methods.rstar_math import METHOD as RSTAR_MATH


def test_a_method_is_found_by_the_name_of_its_file() -> None:
    assert method_named("rstar_math") is RSTAR_MATH
    assert method_named("rejection") is REJECTION


@pytest.mark.parametrize("name", ["rstar", "", "../grading", "os"])
def test_an_unknown_method_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UserError, match=r"expected one of rejection, rstar_math"):
        method_named(name)
