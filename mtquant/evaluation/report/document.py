# SPDX-License-Identifier: Apache-2.0
"""What a report says, apart from how it is written: chapters of texts, tables and figures.

HTML, Markdown and JSON are three writers of one `Document`, so they cannot disagree. A number keeps
its value and its unit beside the text that people read, and a Sharpe ratio is an `Estimate`, which
cannot be made without its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

UNDEFINED = "–"


@dataclass(frozen=True)
class Number:
    """A number as people read it, and as programs do.

    Attributes:
        value: NaN if undefined.
        text: With its unit where the heading does not give it.
        unit: For example ``"fraction"``, ``"per year"``, ``"USD"``, ``"bars"``.
    """

    value: float
    text: str
    unit: str

    def __str__(self) -> str:
        return self.text if np.isfinite(self.value) else UNDEFINED

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; null where undefined."""
        return {"value": _known(self.value), "unit": self.unit}


@dataclass(frozen=True)
class Estimate:
    """A number that is shown with its interval or not at all, such as a Sharpe ratio.

    Attributes:
        value: NaN if undefined.
        low, high: Ends of the interval; NaN if there is none.
        unit: Of all three.
    """

    value: float
    low: float
    high: float
    unit: str

    def __str__(self) -> str:
        if not np.isfinite([self.value, self.low, self.high]).all():
            return UNDEFINED
        return f"{self.value:z,.2f} ({self.low:z,.2f} to {self.high:z,.2f})"

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; all null where there is no interval."""
        known = bool(np.isfinite([self.value, self.low, self.high]).all())
        ends = (self.value, self.low, self.high) if known else (np.nan,) * 3
        names = ("value", "low", "high")
        return dict(zip(names, map(_known, ends), strict=True)) | {"unit": self.unit}


Cell = str | Number | Estimate


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Plain text.
        verbatim: Set in a fixed width, line by line, as a program printed it.
    """

    text: str
    verbatim: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings.

    Attributes:
        headings: Of the columns; the first one names rows.
        rows: As many cells as headings each.
        title: Above it; empty where the chapter's is enough.
        words: Cells are sentences or hashes: aligned to the left, wrapped.
        heat: Numbers are coloured by their value, gains green and losses red; 1.0 of colour at this
            value. 0: no colours.
        folded: Shown only when asked for.
        lead: The first row is the subject of the report and is set in bold.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    words: bool = False
    heat: float = 0.0
    folded: bool = False
    lead: bool = False


@dataclass(frozen=True)
class Figure:
    """A chart.

    Attributes:
        title: Above it.
        says: What it shows in a sentence, for those who cannot see it.
        chart: Dressed by `charts.dress`.
        note: A sentence below it; may be empty.
        small: Half as wide as the page where that is wide, beside another small one.
    """

    title: str
    says: str
    chart: go.Figure
    note: str = ""
    small: bool = False


Block = Text | Table | Figure


@dataclass(frozen=True)
class Chapter:
    """One question, answered.

    Attributes:
        title: Its name in the contents.
        blocks: In reading order.
    """

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report.

    Attributes:
        title: Heading.
        subtitle: What was traded, when, how.
        grade: What the evidence amounts to, a `Grade` as text.
        verdict: Its sentences, the most important one first.
        notes: Facts about data and rules that every report repeats.
        key_figures: The few numbers at the top: label and cell.
        chapters: In order.
    """

    title: str
    subtitle: str
    grade: str
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
    key_figures: tuple[tuple[str, Cell], ...]
    chapters: tuple[Chapter, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """As `report.json` holds it."""
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "grade": self.grade,
            "verdict": list(self.verdict),
            "notes": list(self.notes),
            "key_figures": {name: plain_cell(cell) for name, cell in self.key_figures},
            "chapters": [
                {"title": each.title, "blocks": [plain_block(block) for block in each.blocks]}
                for each in self.chapters
            ],
        }


def plain_cell(cell: Cell) -> Any:
    """A cell as JSON holds it."""
    return cell if isinstance(cell, str) else cell.plain()


def plain_block(block: Block) -> dict[str, Any]:
    """A block as JSON holds it; a figure by its series."""
    if isinstance(block, Text):
        return {"text": block.text}
    if isinstance(block, Table):
        rows = [[plain_cell(cell) for cell in row] for row in block.rows]
        return {"table": block.title, "headings": list(block.headings), "rows": rows}
    series = [_series(trace) for trace in block.chart.data]
    return {"figure": block.title, "says": block.says, "note": block.note, "series": series}


def table_of(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], title: str = "", **look: Any
) -> Table:
    """A `Table` from lists."""
    return Table(tuple(headings), tuple(tuple(row) for row in rows), title, **look)


def _series(trace: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": trace.name or "", "kind": trace.type}
    for axis in ("x", "y", "z"):
        values = getattr(trace, axis, None)
        if values is not None:
            found[axis] = _listed(np.asarray(values))
    return found


def _listed(values: Any) -> list[Any]:
    if values.ndim > 1:
        return [_listed(row) for row in values]
    if values.dtype.kind == "M":
        return list(np.datetime_as_string(values, unit="m").tolist())
    if values.dtype.kind == "f":
        return [_known(float(f"{value:.7g}")) for value in values.tolist()]
    return [str(value) if values.dtype.kind in "UO" else value for value in values.tolist()]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
