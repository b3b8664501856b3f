"""The section `problems`: what is trained on, what is held out, what a round searches."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    Strict,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from perseid.mistakes import described, mistake, shown
from perseid.problems.source import Found, Pool, Settings, settings_of
from perseid.problems.splits import Split
from perseid.section import Section

__all__ = ["Pool", "Problems", "Source", "Split"]

Source = Annotated[SerializeAsAny[Settings], BeforeValidator(settings_of)]


def _held_out(value: Any) -> Any:
    """A list of sources, or how the training sources are split."""
    if isinstance(value, dict):
        try:
            return Split.model_validate(value)
        except ValidationError as error:
            raise mistake(*described(error, Split)) from None
    if isinstance(value, list | tuple):
        if not value:
            raise mistake("", "expected a list of at least 1, found none")
        return tuple(_of_list(position, one) for position, one in enumerate(value, 1))
    if value is None or isinstance(value, Split):
        return value
    raise mistake("", f"expected a list of sources, or a split of the training sources, found {shown(value)}")


def _of_list(position: int, value: Any) -> Settings:
    try:
        settings = settings_of(value)
    except PydanticCustomError as error:
        told = error.context or {}
        raise mistake(f"{position}.{told['key']}".removesuffix("."), told["expected"]) from None
    if settings.pool_section is not None:
        raise mistake(str(position), f"expected another source: {settings.source} is trained on as it is held out")
    return settings


class Problems(Section):
    """Sources of problems. `pool` is what each round searches of `train`; a round may say otherwise."""

    train: Annotated[tuple[Source, ...], Strict(False), Field(min_length=1, max_length=100)]
    held_out: Annotated[tuple[SerializeAsAny[Settings], ...] | Split | None, BeforeValidator(_held_out)] = None
    pool: SerializeAsAny[Section] = Field(default_factory=lambda: cast(Section, {}), validate_default=True)

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of answers that the problems have: each is a grader."""
        return frozenset(kind for _, source in self.keyed() for kind in source.kinds())

    @field_validator("train")
    @classmethod
    def _what_draws_pools_stands_alone(cls, train: tuple[Settings, ...]) -> tuple[Settings, ...]:
        for position, source in enumerate(train, 1):
            if source.pool_section is not None and len(train) > 1:
                raise mistake(str(position), f"expected {source.source} alone: it draws itself what a round searches")
        return train

    @model_validator(mode="after")
    def _something_is_held_out(self) -> "Problems":
        if any(source.holds_out for source in self.train):
            if isinstance(self.held_out, Split):
                raise mistake("held_out", f"has no effect: {self.train[0].source} brings what is held out")
        elif self.held_out is None:
            expected = "expected a list of sources, or share, problems or column of train's; it is missing"
            raise mistake("held_out", expected)
        if isinstance(self.held_out, Split) and self.held_out.by:
            for position, source in enumerate(self.train, 1):
                if self.held_out.by not in source.facets_told():
                    expected = f"expected a facet of every source, and train.{position} has no {self.held_out.by}"
                    raise mistake("held_out.by", expected)
        return self

    @field_validator("pool", mode="before")
    @classmethod
    def _pool_is_its_source_s(cls, value: Any, info: ValidationInfo) -> Any:
        if "train" not in info.data:
            return Pool()  # the mistake is there
        section = info.data["train"][0].pool_section or Pool
        if isinstance(value, section):
            return value
        try:
            return section.model_validate(value)
        except ValidationError as error:
            raise mistake(*described(error, section)) from None

    def keyed(self) -> Iterator[tuple[str, Settings]]:
        """Every source, with its key."""
        for position, source in enumerate(self.train, 1):
            yield f"problems.train.{position}", source
        for position, source in enumerate(self.held_out if isinstance(self.held_out, tuple) else (), 1):
            yield f"problems.held_out.{position}", source

    def asks(self, pool: Section) -> int | None:
        """How many problems a round searches whose pool this is; None where the files tell."""
        return pool.problems if isinstance(pool, Pool) else self.train[0].asks(pool)

    def prelude(self) -> str:
        """What the sandbox knows before a program begins."""
        return "\n".join(filter(None, (source.prelude() for source in self.train)))

    def contradiction(self, pools: Sequence[tuple[str, Section]], fresh: int) -> Found | None:
        """See `Settings.contradiction`."""
        return next(filter(None, (source.contradiction(key, pools, fresh) for key, source in self.keyed())), None)

    def without_effect(self) -> Iterable[Found]:
        """See `Settings.without_effect`."""
        return (found for key, source in self.keyed() for found in source.without_effect(key, self.pool))

    def unreadable(self, root: Path) -> Found | None:
        """The first key whose files cannot be what is expected: known without reading them through."""
        for key, source in self.keyed():
            if found := source.unreadable(root):
                return f"{key}.{found[0]}", found[1]
        return None
