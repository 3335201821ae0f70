# SPDX-License-Identifier: Apache-2.0
"""From bytes to lines and fields; what cannot even be that is refused."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from dataclasses import dataclass

from mtquant.core.errors import DataError

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True)
class Text:
    """A file as text.

    Attributes:
        lines: Its lines without their ends.
        encoding: How its bytes were read, in words.
        terminated: Whether the last line ends with a line end.
    """

    lines: tuple[str, ...]
    encoding: str
    terminated: bool


def decode(content: bytes, encoding: str | None, name: str) -> Text:
    """The lines of a file.

    Args:
        content: The file's bytes.
        encoding: What the user says it is, or None for UTF-8 or what the byte order mark says.
        name: The file's name, for messages.

    Raises:
        DataError: The file is empty, or its bytes are not text in that encoding.
    """
    if not content.strip(b" \t\r\n\x00"):
        remedy = "Fetch the file again."
        raise DataError(name, "must hold a header and rows", f"{len(content)} bytes", remedy)
    marked, found = "", None
    for mark, implied in MARKS:
        if content.startswith(mark):
            content, found, marked = content[len(mark) :], implied, " with a byte order mark"
            break
    reading = found or encoding or "utf-8"
    try:
        text = content.decode(reading)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        remedy = "Say the file's encoding: utf-8, utf-16, cp1252 or latin-1."
        byte = content[error.start : error.start + 1]
        raise DataError(f"{name}, line {line}", f"must be {reading} text", byte, remedy) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        remedy = "Give a text file; one of 16-bit characters needs encoding utf-16."
        raise DataError(f"{name}, line {line}", "must be text without NUL characters", 0, remedy)
    lines = text.split("\n")
    terminated = lines[-1].strip() == ""
    return Text(tuple(lines), reading + marked, terminated)


def split_line(line: str, delimiter: str) -> list[str] | None:
    """The fields of one line without the space around them; None where its quotes do not pair.

    Lines are split one by one: a stray quote must not swallow the lines that follow it.
    """
    if '"' not in line:
        return [field.strip() for field in line.split(delimiter)]
    reader = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        (fields,) = reader
    except (csv.Error, ValueError):
        return None
    return [field.strip() for field in fields]


def first_line(lines: Sequence[str], name: str) -> int:
    """Index of the first line that is not blank."""
    for index, line in enumerate(lines):
        if line.strip():
            return index
    remedy = "Fetch the file again."
    raise DataError(name, "must hold a header and rows", "blank lines only", remedy)
