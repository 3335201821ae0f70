# SPDX-License-Identifier: Apache-2.0
"""From a foreign price file to bars and a report."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.data.bars import NANOSECONDS, Bars, bars_per_year, check_bars, stamp_text
from mtquant.data.files import naming
from mtquant.data.importing.columns import PRICES, Columns, find_columns
from mtquant.data.importing.gaps import find_gaps
from mtquant.data.importing.lines import DELIMITERS, Text, decode, first_line, split_line
from mtquant.data.importing.magnitude import Spikes, check_magnitude, find_spikes, largest
from mtquant.data.importing.order import put_in_order
from mtquant.data.importing.policy import ImportPolicy
from mtquant.data.importing.report import ImportReport
from mtquant.data.importing.rules import Stamps, Values, read_times, read_values
from mtquant.data.importing.sheet import Rows, Sheet
from mtquant.data.importing.source import ImportSource
from mtquant.data.stamps import session_stamps


@dataclass(frozen=True)
class Mark:
    """Where in time something was found; for pictures.

    Attributes:
        kind: A field of `ImportPolicy`, or ``"spike"``.
        stamps: int64, UTC close stamps.
    """

    kind: str
    stamps: Stamps


@dataclass(frozen=True)
class Imported:
    """What an import leaves behind.

    Attributes:
        bars: The bars, checked.
        report: What was done.
        lines: int64 [T], the line of the file that each bar came from.
        marks: Rows that were repaired, dropped (where their time is known) or stand out.
    """

    bars: Bars
    report: ImportReport
    lines: NDArray[np.int64]
    marks: tuple[Mark, ...]


def import_file(path: Path, source: ImportSource, policy: ImportPolicy) -> Imported:
    """Reads a price file of any common layout.

    Args:
        path: A text file of separated values.
        source: What the user knows of it.
        policy: What to do about each kind of dirt.

    Raises:
        DataError: The file cannot be read, its layout or clock cannot be told, a row breaks a rule
            whose answer is to refuse (file, line, rule and value are named), or fewer than two
            rows are left.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = "Check the path."
        raise DataError(str(path), "must be a readable file", error.strerror, remedy) from error
    read = _read(content, path, source, policy)
    rows, values, closed = read.rows, read.values, read.closed
    spikes = find_spikes(rows, values.prices)
    report = _report(content, path, read, spikes, source, policy)
    prices = {name: values.prices[rows, place] for place, name in enumerate(PRICES)}
    bars = Bars(
        symbol=source.symbol,
        stamps=closed[rows],
        volume=values.volume[rows],
        quote=source.quote,
        bar_seconds=source.bar_seconds,
        notes=report.notes(),
        **prices,
    )
    with naming(path):
        check_bars(bars)
    marks = (*_marks(read.sheet, closed), Mark("spike", closed[rows[spikes.places]]))
    return Imported(bars, report, read.sheet.lines[rows], marks)


@dataclass(frozen=True)
class _Read:
    """A file after all rules; R rows of which `rows` stand, oldest first.

    Attributes:
        text, columns: Its layout.
        blank: Blank lines behind the header.
        sheet: What was found.
        how: How its times are written and read.
        closed: int64 [R], UTC close stamps.
        values: Prices and volume.
        rows: int64 [T].
    """

    text: Text
    columns: Columns
    blank: int
    sheet: Sheet
    how: str
    closed: Stamps
    values: Values
    rows: Rows


def _read(content: bytes, path: Path, source: ImportSource, policy: ImportPolicy) -> _Read:
    """Layout, times, values, order and magnitude, each under its rules."""
    name = str(path)
    text = decode(content, source.encoding, name)
    start = first_line(text.lines, name)
    columns = find_columns(
        text.lines[start], f"{name}, line {start + 1}", source.rename, source.columns
    )
    body = start + 1 if columns.header else start
    sheet, texts = _rows(text, body, columns, name, policy)
    moments, how = read_times(sheet, texts, columns, source)
    closed = _closed(sheet, moments, source)
    values = read_values(sheet, texts, columns, source)
    rows = put_in_order(sheet, closed, values, source.bar_seconds * NANOSECONDS)
    rows = check_magnitude(sheet, rows, values, source)
    if len(rows) < 2:
        found = f"{len(sheet)} rows read, {len(rows)} left"
        remedy = "Give a longer file, or mend what was dropped."
        if sheet.findings:
            remedy += f" First: {sheet.findings[0]}, line {sheet.findings[0].line}."
        raise DataError(name, "must have at least 2 rows to become bars", found, remedy)
    return _Read(text, columns, _blank(text, body), sheet, how, closed, values, rows)


def _report(
    content: bytes,
    path: Path,
    read: _Read,
    spikes: Spikes,
    source: ImportSource,
    policy: ImportPolicy,
) -> ImportReport:
    stamps = read.closed[read.rows]
    return ImportReport(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        encoding=read.text.encoding,
        delimiter=DELIMITERS[read.columns.delimiter],
        columns=read.columns.names,
        ignored_columns=read.columns.ignored,
        times=read.how,
        rows_read=len(read.sheet),
        rows_kept=len(stamps),
        blank_lines=read.blank,
        findings=tuple(read.sheet.findings),
        spike_count=len(spikes.places),
        spikes=largest(spikes, read.rows, read.sheet, read.closed),
        gaps=find_gaps(stamps, source.bar_seconds).summary,
        first=stamp_text(int(stamps[0])),
        last=stamp_text(int(stamps[-1])),
        bars_per_year=bars_per_year(stamps, str(path)),
        source=source,
        policy=policy,
    )


def _rows(
    text: Text, body: int, columns: Columns, name: str, policy: ImportPolicy
) -> tuple[Sheet, dict[str, list[str]]]:
    """The rows behind the header and their texts by role; dropped rows hold empty ones."""
    kept = [index for index in range(body, len(text.lines)) if text.lines[index].strip()]
    if not kept:
        remedy = "Fetch the file again."
        raise DataError(name, "must hold rows behind its header", "none", remedy)
    split = [split_line(text.lines[index], columns.delimiter) for index in kept]
    sheet = Sheet(name, np.array(kept, dtype=np.int64) + 1, policy)

    def shown(row: int) -> str:
        return text.lines[kept[row]]

    last = np.zeros(len(kept), dtype=bool)
    last[-1] = not text.terminated
    sheet.meet("unterminated", last, shown)
    ragged = [fields is None or len(fields) != columns.count for fields in split]
    sheet.meet("ragged", np.array(ragged), shown)
    nothing = [""] * columns.count
    whole = [
        nothing if bad or fields is None else fields
        for bad, fields in zip(ragged, split, strict=True)
    ]
    return sheet, {
        role: [fields[place] for fields in whole] for role, place in columns.places.items()
    }


def _blank(text: Text, body: int) -> int:
    """Blank lines behind the header, not counting what the last line end leaves."""
    lines = text.lines[body : len(text.lines) - text.terminated]
    return sum(not line.strip() for line in lines)


def _closed(sheet: Sheet, moments: Stamps, source: ImportSource) -> Stamps:
    """UTC close stamps, int64 [R]; rows that are dropped hold what their time says, or 0."""
    if source.stamped == "open":
        return moments + source.bar_seconds * NANOSECONDS
    if source.stamped == "close":
        return moments
    closed = moments.copy()
    rows: Rows = np.flatnonzero(sheet.alive)
    dates = pd.DatetimeIndex(moments[rows].view("datetime64[ns]"))
    closed[rows] = session_stamps(dates, sheet.name, source.session_timezone, source.session_close)
    return closed


def _marks(sheet: Sheet, closed: Stamps) -> list[Mark]:
    """The findings on the axis of time."""
    marks = []
    for index, finding in enumerate(sheet.findings):
        rows = np.flatnonzero(sheet.kind == index)
        if finding.kind not in ("ragged", "bad_time", "skipped_hour", "unterminated"):
            marks.append(Mark(finding.kind, np.sort(closed[rows])))
    return marks
