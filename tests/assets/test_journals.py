"""Where a killed attempt left off is told by what it was made of: code, versions of inputs, and their roles."""

from assets.journals import forget, forget_journals, journals
from perseid.artifacts import Store
from tests.assets.conftest import publish

KEY = "x/round_01/trajectories/000"
INPUTS = {"x/round_01/pool": "a" * 16, "x/round_00/policy": "b" * 16}
ROLES = {"pool": ("x/round_01/pool",), "policy": ("x/round_00/policy",)}


def test_another_code_another_version_or_another_role_is_another_making(store: Store) -> None:
    swapped = {"pool": ROLES["policy"], "policy": ROLES["pool"]}
    found = {
        journals(store, KEY, "c" * 16, INPUTS, ROLES),
        journals(store, KEY, "d" * 16, INPUTS, ROLES),
        journals(store, KEY, "c" * 16, {**INPUTS, "x/round_01/pool": "e" * 16}, ROLES),
        journals(store, KEY, "c" * 16, INPUTS, swapped),
    }
    assert len(found) == 4
    assert {path.parent for path in found} == {store.place(KEY) / ".journal"}
    assert journals(store, KEY, "c" * 16, dict(reversed(INPUTS.items())), dict(reversed(ROLES.items()))) in found


def test_what_is_published_is_forgotten_and_what_another_began_stays(store: Store) -> None:
    made = publish(store, KEY, {})
    mine, other = (journals(store, KEY, code, made.inputs, made.roles) for code in (made.code_version, "other"))
    for begun in (mine, other):
        begun.mkdir(parents=True)
        (begun / "journal").write_text("so far")
    forget_journals(store, made)
    assert (mine.exists(), other.exists()) == (False, True)
    forget(other)
    assert not other.parent.exists()
