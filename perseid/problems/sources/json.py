"""A JSON list of objects, read one by one however long it is."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, TextIO

from perseid.errors import UserError, printable
from perseid.problems.files import CHUNK_BYTES, MAX_ROW_BYTES, shown, text_of
from perseid.problems.rows import FileSettings, Row
from perseid.problems.sources.jsonl import parsed
from perseid.section import DISCRIMINATOR

BLANK: Final = " \t\r\n"


class Settings(FileSettings):
    source: Annotated[Literal["json"], DISCRIMINATOR] = "json"

    def rows(self, root: Path, only: Collection[str] | None = None) -> Iterator[Row]:
        for file in self.files(root):
            name = shown(file, root)
            with text_of(file) as text:
                for line, element in _Elements(text, name).all():
                    value, fault = parsed(element)
                    yield Row(name, line, None if fault else value, fault)


SETTINGS = Settings


class _Elements:
    """The elements of one JSON list, as texts with the line in which each begins."""

    def __init__(self, text: TextIO, name: str) -> None:
        self.text, self.name = text, name
        self.held, self.at, self.line = "", 0, 1

    def all(self) -> Iterator[tuple[int, str]]:
        if self.next() != "[":
            raise self.mistake("expected a list of objects")
        self.step()
        while (character := self.next()) != "]":
            line, element = self.line, self.element()
            yield line, element
            character = self.next()
            if character == ",":
                self.step()
                if self.next() == "]":
                    raise self.mistake("expected an object after the comma")
            elif character != "]":
                raise self.mistake("expected a comma or the end of the list")
        self.step()
        if self.next():
            raise self.mistake("expected nothing after the list")

    def element(self) -> str:
        """The text of the value that begins here."""
        decoder = json.JSONDecoder()
        while True:
            try:
                _, end = decoder.raw_decode(self.held, self.at)
            except RecursionError:
                raise self.mistake("expected a list of objects: nested too deep") from None
            except ValueError as error:
                if not self.more():
                    raise self.mistake(f"expected JSON: {printable(str(error), 100)}") from None
                continue
            if end < len(self.held) or not self.more():  # a number at the end of what is held may go on
                break
        element = self.held[self.at : end]
        self.line += element.count("\n")
        self.at = end
        return element

    def next(self) -> str:
        """The next character that is not blank, "" at the end; it is not taken."""
        while True:
            while self.at < len(self.held):
                character = self.held[self.at]
                if character not in BLANK:
                    return character
                self.line += character == "\n"
                self.at += 1
            if not self.more():
                return ""

    def step(self) -> None:
        self.at += 1

    def more(self) -> bool:
        """Read on: as much again as is held, so that a long element is not begun too often."""
        self.held, self.at = self.held[self.at :], 0
        if len(self.held) > MAX_ROW_BYTES:
            raise self.mistake(f"expected objects of at most {MAX_ROW_BYTES:,} characters")
        chunk = self.text.read(max(CHUNK_BYTES, len(self.held)))
        self.held += chunk
        return bool(chunk)

    def mistake(self, expected: str) -> UserError:
        return UserError(self.name, f"line {self.line}", expected)
