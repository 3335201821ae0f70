# SPDX-License-Identifier: Apache-2.0
"""Parts of an evaluation as tables of text: one form for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

UNDEFINED = "–"


@dataclass(frozen=True)
class Section:
    """A table under a title.

    Attributes:
        title: What it is about.
        headings: Of its columns; the first one names rows.
        rows: Text, as many cells as headings each.
        notes: Sentences below it: what was found, and how to read it.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """Heading, table and notes."""
        rule = "|---|" + "---:|" * (len(self.headings) - 1)
        table = [_line(self.headings), rule, *map(_line, self.rows)]
        return "\n".join([f"## {self.title}", "", *table, *(f"\n{note}" for note in self.notes)])


def document(title: str, sections: Sequence[Section]) -> str:
    """A Markdown page."""
    return "\n\n".join([f"# {title}", *(section.markdown() for section in sections)]) + "\n"


def percent(value: float, digits: int = 1) -> str:
    """0.123 as ``12.3 %``."""
    return f"{100.0 * value:z.{digits}f} %" if np.isfinite(value) else UNDEFINED


def number(value: float, digits: int = 2) -> str:
    """Two decimals."""
    return f"{value:z.{digits}f}" if np.isfinite(value) else UNDEFINED


def between(interval: tuple[float, float], text: Callable[[float], str] = percent) -> str:
    """An interval by the texts of its ends."""
    low, high = interval
    if not (np.isfinite(low) and np.isfinite(high)):
        return UNDEFINED
    return f"{text(low)} to {text(high)}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
