"""The section `problems`: what is trained on, what is held out, what a round searches."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, SerializeAsAny, Strict, ValidationError, ValidationInfo, field_validator

from perseid.mistakes import described, mistake
from perseid.problems.source import Found, Pool, Settings, settings_of
from perseid.section import Section

__all__ = ["Pool", "Problems", "Source"]

Source = Annotated[SerializeAsAny[Settings], BeforeValidator(settings_of)]
Key = tuple[str, Section]  # a section, and how its user finds it


class Problems(Section):
    """Sources of problems. `pool` is what each round searches of `train`; a round may say otherwise."""

    train: Annotated[tuple[Source, ...], Strict(False), Field(min_length=1, max_length=100)]
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
