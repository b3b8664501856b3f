"""The toy's section: which families are asked, how many questions of each, in which split."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field, Strict, model_validator

from perseid.mistakes import mistake, unknown
from perseid.problems import source
from perseid.problems.source import Found
from perseid.problems.sources.tools.families import COMPOSITIONS, FAMILIES
from perseid.section import DISCRIMINATOR, Section, changed

if TYPE_CHECKING:
    from perseid.problems.sources.tools.drawing import Tools

Count = Annotated[int, Field(ge=0, le=100_000)]  # questions; how many a family has is in capacity.py
Names = Annotated[tuple[str, ...], Strict(False)]
COMPOSED = ("demonstrations_composed", "explorations_composed", "held_out_composed", "held_out_compositions")


class Pool(Section):
    """The questions that a round searches, fresh in every round; a round may ask more of the harder kinds."""

    demonstrated: Count = 6  # questions a demonstrated family
    undemonstrated: Count = 20
    composed: Count = 6  # questions a (family, composition) pair


class Settings(source.Settings):
    """Sizes are questions a family (or a family and composition)."""

    pool_section: ClassVar[type[Section] | None] = Pool
    demonstrates: ClassVar[bool] = True
    holds_out: ClassVar[bool] = True
    source: Annotated[Literal["tools"], DISCRIMINATOR] = "tools"
    demonstrated: Names  # families the teacher demonstrates
    undemonstrated: Names  # families whose solving programs must be discovered
    demonstrated_compositions: Names = ()
    undemonstrated_compositions: Names = ()
    demonstrations: Count = 60
    demonstrations_composed: Count = 20
    drills: Count = 150  # questions that name the functions to call, in all
    explorations: Count = 40  # questions a family, answered by a random program that merely runs
    explorations_composed: Count = 10
    held_out: Annotated[int, Field(ge=1, le=100_000)] = 10
    held_out_wordings: Count = 3  # in a wording that no other split uses
    held_out_composed: Count = 3
    held_out_compositions: Count = 5  # of (family, composition) pairs that no other split asks

    @model_validator(mode="after")
    def _names_are_known_and_stand_once(self) -> "Settings":
        _known_once(self, ("demonstrated", "undemonstrated"), FAMILIES)
        _known_once(self, ("demonstrated_compositions", "undemonstrated_compositions"), COMPOSITIONS)
        if not self.demonstrated and not self.undemonstrated:
            raise mistake("undemonstrated", f"expected at least one family of {', '.join(FAMILIES)}")
        return self

    @model_validator(mode="after")
    def _compositions_have_families(self) -> "Settings":
        families = [FAMILIES[name] for name in (*self.demonstrated, *self.undemonstrated)]
        for key in ("demonstrated_compositions", "undemonstrated_compositions"):
            for position, name in enumerate(getattr(self, key), 1):
                if not any(family.integer and family.reach > COMPOSITIONS[name].least for family in families):
                    least = COMPOSITIONS[name].least
                    expected = f"has no effect: no family here has whole numbers from {least} on as its answers"
                    raise mistake(f"{key}.{position}", expected)
        return self

    @model_validator(mode="after")
    def _something_teaches(self) -> "Settings":
        """What round 0 is trained on, and a control in every round."""
        shown = len(self.demonstrated) * self.demonstrations + len(self.undemonstrated) * self.explorations
        if not shown and not self.drills:
            raise mistake("drills", "expected demonstrations, explorations or drills: the base is trained on them")
        return self

    def key(self, root: Path) -> str:
        from perseid.problems.sources.tools.versions import families_version

        return families_version()

    def kinds(self) -> frozenset[str]:
        composed = (*self.demonstrated_compositions, *self.undemonstrated_compositions)
        asked = [FAMILIES[name].kind for name in (*self.demonstrated, *self.undemonstrated)]
        return frozenset([*asked, *(COMPOSITIONS[name].kind for name in composed)])

    def redraws_key(self, root: Path) -> str | None:
        return self.key(root)  # the families alone

    def prelude(self) -> str:
        from perseid.problems.sources.tools.versions import toolbox_source

        return toolbox_source()

    def opened(self, seed: int, root: Path) -> "Tools":
        from perseid.problems.sources.tools.drawing import Tools

        return Tools(self, seed)

    def contradiction(self, where: str, pools: Sequence[tuple[str, Section]], fresh: int) -> Found | None:
        from perseid.problems.sources.tools.capacity import asked, excess

        return excess(asked(self, where, cast(Sequence[tuple[str, Pool]], pools)), fresh)

    def without_effect(self, where: str, pool: Section) -> Iterator[Found]:
        if not (self.demonstrated_compositions or self.undemonstrated_compositions):
            for key in changed(self, COMPOSED):
                yield f"{where}.{key}", "has no effect without compositions"
            for key in changed(pool, ("composed",)):
                yield f"problems.pool.{key}", "has no effect without compositions"

    def asks(self, pool: Section) -> int:
        from perseid.problems.sources.tools.capacity import asked

        own = asked(self, "", [("pool", cast(Pool, pool))])
        return sum(one.asks for one in own if one.key.startswith("pool."))


def _known_once(section: Settings, keys: Iterable[str], known: Collection[str]) -> None:
    seen: dict[str, str] = {}
    for key in keys:
        for position, name in enumerate(getattr(section, key), 1):
            here = f"{key}.{position}"
            if name not in known:
                raise mistake(here, unknown(name, known))
            if name in seen:
                raise mistake(here, f"expected each name once, found {name} as {seen[name]} too")
            seen[name] = here
