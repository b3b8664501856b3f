"""The canonical form of a section."""

from typing import Annotated, Literal

from perseid.section import DISCRIMINATOR, OPERATIONAL, Section, canonical


class Inner(Section):
    kind: Annotated[Literal["a", "b"], DISCRIMINATOR] = "a"
    size: int = 3
    port: Annotated[int, OPERATIONAL] = 80


class Outer(Section):
    name: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()


def test_defaults_and_operational_fields_are_left_out_and_discriminators_kept() -> None:
    assert canonical(Inner(size=3, port=81)) == {"kind": "a"}
    assert canonical(Inner(kind="b", size=4)) == {"kind": "b", "size": 4}


def test_a_section_inside_is_canonical_too_and_what_is_required_stays() -> None:
    assert canonical(Outer(name="x", inner=Inner(size=5, port=1), many=(Inner(size=4),))) == {
        "name": "x",
        "inner": {"kind": "a", "size": 5},
        "many": [{"kind": "a", "size": 4}],
    }
    assert canonical(Outer(name="x", inner=Inner(port=1))) == canonical(Outer(name="x")) == {"name": "x"}
    assert canonical({"pools": [Inner(size=1)], "seed": 3}) == {"pools": [{"kind": "a", "size": 1}], "seed": 3}
