# SPDX-License-Identifier: Apache-2.0
"""A document as one HTML page that needs nothing from outside.

plotly.js and the figures travel inside, packed (gzip, base64), and are unpacked by the browser: a
page of some 2 MB instead of 5 and more. A chart is drawn when it comes near the screen, or when the
page is printed. Everything that is handed in as text is escaped.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from typing import Any

import numpy as np
from plotly.offline import get_plotlyjs

from mtquant.evaluation.report.document import (
    Block,
    Cell,
    Document,
    Estimate,
    Figure,
    Number,
    Table,
    Text,
)
from mtquant.evaluation.report.style import legend_of
from mtquant.evaluation.verdict import Grade

GRADE_KINDS = {Grade.EVIDENCE.value: "some", Grade.LOSS.value: "loss"}
GRADE_MARKS = {"some": "✓", "loss": "✕", "": "–"}


def html(document: Document) -> str:
    """The whole page; equal documents give equal bytes."""
    page = _Page()
    sections = []
    for number, chapter in enumerate(document.chapters, start=1):
        body = page.blocks(chapter.blocks)
        title = escape(chapter.title)
        sections.append(
            f'<section id="part-{number}" aria-labelledby="title-{number}">'
            f'<h2 id="title-{number}">{title}</h2>\n{body}</section>'
        )
    links = (
        f'<a href="#part-{number}">{escape(chapter.title)}</a>'
        for number, chapter in enumerate(document.chapters, start=1)
    )
    template = files("mtquant.evaluation.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(document.title),
        subtitle=escape(document.subtitle),
        verdict=_verdict(document),
        tiles="".join(_tile(name, cell) for name, cell in document.key_figures),
        links="\n".join(links),
        sections="\n".join(sections),
        figures=_packed(json.dumps(page.figures, separators=(",", ":"))),
        plotly=_plotly(),
    )


class _Page:
    """Writes blocks and numbers the figures."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []

    def blocks(self, blocks: Sequence[Block]) -> str:
        """Blocks in order; small figures that follow each other stand side by side."""
        parts = []
        for small, run in groupby(blocks, key=lambda each: isinstance(each, Figure) and each.small):
            inner = "\n".join(self.block(each) for each in run)
            parts.append(f'<div class="grid">{inner}</div>' if small else inner)
        return "\n".join(parts)

    def block(self, block: Block) -> str:
        if isinstance(block, Text):
            text = escape(block.text)
            return f'<pre tabindex="0">{text}</pre>' if block.verbatim else f"<p>{text}</p>"
        if isinstance(block, Table):
            return _table(block)
        return self._figure(block)

    def _figure(self, figure: Figure) -> str:
        number = len(self.figures)
        chart = figure.chart
        self.figures.append(_rounded(chart.to_plotly_json()))
        names = legend_of(chart)
        legend = "".join(
            f'<button type="button" aria-pressed="true" data-name="{escape(name)}">'
            f'<i style="background:{escape(colour)}"></i>{escape(name)}</button>'
            for name, colour in names
        )
        legend = f'<div class="legend">{legend}</div>' if len(names) > 1 else ""
        note = f'<p class="note">{escape(figure.note)}</p>' if figure.note else ""
        return (
            f"<figure><h3>{escape(figure.title)}</h3>{legend}"
            f'<div class="chart" data-figure="{number}" role="img" '
            f'aria-label="{escape(figure.says)}" style="height:{int(chart.layout.height)}px"></div>'
            f"{note}</figure>"
        )


def _verdict(document: Document) -> str:
    kind = GRADE_KINDS.get(document.grade, "")
    first, *others = (escape(line) for line in document.verdict)
    box = f'<p class="lead"><span aria-hidden="true">{GRADE_MARKS[kind]}</span>{first}</p>'
    box += "".join(f"<p>{line}</p>" for line in others)
    if document.notes:
        box += f'<p class="notes">{" · ".join(escape(note) for note in document.notes)}</p>'
    return f'<section class="verdict {kind}" aria-label="Verdict">{box}</section>'


def _tile(name: str, cell: Cell) -> str:
    text = escape(str(cell))
    if isinstance(cell, Estimate) and "(" in text:
        value, interval = text.split(" ", 1)
        text = f"{value} <small>{interval}</small>"
    return f"<div><dt>{escape(name)}</dt><dd>{text}</dd></div>"


def _table(table: Table) -> str:
    kind = " ".join(
        name
        for name, on in (("words", table.words), ("heat", table.heat > 0), ("lead", table.lead))
        if on
    )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.headings)
    rows = "".join(_row(row, table) for row in table.rows)
    label = escape(table.title or table.headings[0] or "table")
    # Focusable, so that arrow keys scroll a table that is wider than the screen.
    body = (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="{kind}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
    if table.folded:
        return f"<details><summary>{escape(table.title)}</summary>{body}</details>"
    return f"<h3>{escape(table.title)}</h3>{body}" if table.title else body


def _row(row: tuple[Cell, ...], table: Table) -> str:
    first, *others = row
    cells = "".join(f"<td{_heat(cell, table.heat)}>{escape(str(cell))}</td>" for cell in others)
    head = escape(str(first))
    if table.words:  # long keys may break behind their dots
        head = head.replace(".", ".<wbr>").replace("_", "_<wbr>")
    return f'<tr><th scope="row">{head}</th>{cells}</tr>'


def _heat(cell: Cell, full: float) -> str:
    """Background of a heat map's cell."""
    if not full or not isinstance(cell, Number):
        return ""
    if np.isnan(cell.value):
        return ' class="none"'
    strength = min(abs(cell.value) / full, 1.0)
    colour = "var(--gain-rgb)" if cell.value >= 0 else "var(--loss-rgb)"
    return f' style="background:rgb({colour} / {0.6 * strength:.2f})"'


def _rounded(value: Any) -> Any:
    """Plotly's JSON with seven significant digits, which no screen can tell from more."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray | np.datetime64) and value.dtype.kind == "M":
        return np.datetime_as_string(value, unit="m").tolist()  # tolist alone counts nanoseconds
    if isinstance(value, np.ndarray):
        return _rounded(value.tolist())
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    if isinstance(value, str | int | bool | None):
        return value
    return value.item() if isinstance(value, np.generic) else str(value)


def _packed(text: str) -> str:
    """Gzip without a clock, as base64."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@cache
def _plotly() -> str:
    return _packed(get_plotlyjs())
