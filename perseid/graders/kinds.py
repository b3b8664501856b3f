"""The kinds of answers there are, each with its grader; and the user's own among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator

from perseid.graders import boolean, choice, gym, mathematics, numbers, text
from perseid.graders.grader import Comparison, Grader, Verdict, text_of
from perseid.graders.mathematics import Mathematics
from perseid.graders.numbers import MAX_LENGTH
from perseid.graders.own import Own, OwnGrader
from perseid.mistakes import mistake, unknown

if TYPE_CHECKING:
    from perseid.sandbox import Sandbox

COMPARING: Final[Mapping[str, Comparison | Mathematics]] = {
    **numbers.GRADERS,
    **text.GRADERS,
    **mathematics.GRADERS,
    **choice.GRADERS,
    **boolean.GRADERS,
}
# Those that need nothing beside the answer and the gold.
BUILT_IN: Final[Mapping[str, Grader]] = {**COMPARING, **gym.GRADERS}
IN_SANDBOX: Final = "code"


def known_kinds(own: Collection[str] = ()) -> tuple[str, ...]:
    return (*BUILT_IN, IN_SANDBOX, *own)


def key_of(kind: str, own: Mapping[str, Own]) -> str:
    """What names all that decides the verdicts of a kind; changes with its grader."""
    if kind == IN_SANDBOX:
        from perseid.graders.code import KEY  # here and below, because who reads a file loads no sandbox

        return KEY
    return f"own {own[kind].key}" if kind in own else BUILT_IN[kind].key


def refused(kind: str, own: Collection[str] = ()) -> str | None:
    """What is wrong with the name of a kind, in words; None where there is such a kind."""
    return None if kind in known_kinds(own) else unknown(kind, known_kinds(own))


def unreadable(kind: str, gold: Any) -> str | None:
    """What was expected where a gold is none of its kind, so that nothing can be told of any answer; else None.

    Of mathematics and of graders that run elsewhere nobody knows beforehand: these are None unless the gold is empty.
    """
    if kind == IN_SANDBOX:
        from perseid.graders.code import task_of

        try:
            task_of(gold)
        except ValueError as why:
            return str(why)
        return None
    if kind == "math":
        return None if mathematics.at_once("", text_of(gold)) is not None else EXPECTED[kind]
    grader = COMPARING.get(kind)
    return EXPECTED[kind] if grader is not None and grader.verdict("", gold) is None else None


EXPECTED: Final = {
    "number": "expected a number, an integer, a decimal or a fraction",
    "decimal": "expected an integer or a decimal",
    "fraction": "expected an integer or a fraction in lowest terms",
    "text": "expected a text that is not empty",
    "math": f"expected a text that is not empty, of at most {MAX_LENGTH:,} characters",
    "choice": "expected an option's letter, or an object with answer and options",
    "boolean": "expected yes, true, no or false",
}


def _named(own: dict[str, Own]) -> dict[str, Own]:
    for name in own:
        if name in known_kinds():
            raise mistake(name, f"expected a name of its own, for {name} is a kind that there is")
        if not (name.isascii() and name.isidentifier() and len(name) <= 64):
            raise mistake(name, "expected a name of letters, digits and _, at most 64, that begins with no digit")
    return own


Owns = Annotated[dict[str, Own], AfterValidator(_named)]  # of a section: graders of the user's own, by kind


@contextmanager
def opened(own: Mapping[str, Own], kinds: Collection[str], sandbox: Sandbox) -> Iterator[Mapping[str, Grader]]:
    """Graders by kind, those of the user's own that are among `kinds` started; closed with the block.

    Raises `UserError` for one that cannot be loaded.
    """
    from perseid.graders.code import Code
    from perseid.sandbox import AsyncSandbox

    with ExitStack() as stack:
        graders: dict[str, Grader] = {**BUILT_IN, IN_SANDBOX: Code(AsyncSandbox(sandbox))}
        for name in sorted({*own} & {*kinds}):
            grader = OwnGrader(name, own[name])
            stack.callback(grader.close)
            grader.start()
            graders[name] = grader
        yield graders


def try_loading(own: Mapping[str, Own], kinds: Collection[str]) -> None:
    """Load the user's own graders that are among `kinds`, and let them go. Raises `UserError` where one cannot be."""
    for name in sorted({*own} & {*kinds}):
        grader = OwnGrader(name, own[name])
        try:
            grader.start()
        finally:
            grader.close()


def equivalent(answer: str, gold: Any, kind: str = "math") -> Verdict:
    """Whether `answer` is right where `gold` is, compared as `kind` says; None: cannot tell."""
    return COMPARING[kind].verdict(answer, gold)
