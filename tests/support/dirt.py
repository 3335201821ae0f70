# SPDX-License-Identifier: Apache-2.0
"""Price files made dirty on purpose, with the knowledge of what was done to which row.

A clean file is written; named mutations are applied to rows of their own, so that each says which
kind of dirt the importer has to find, and what has to become of the row. What is expected follows
from `docs/data.md`, not from the importer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mtquant.core.errors import DataError, MtquantError
from mtquant.data.bars import NANOSECONDS
from mtquant.data.importing.policy import ImportPolicy
from mtquant.data.importing.reader import Imported, import_file
from mtquant.data.importing.source import ImportSource

BAR = 4 * 3600
# Monday 2020-01-06 00:00 UTC; six weeks of 24 hours, Monday to Friday, in bars of four hours.
START = int(np.datetime64("2020-01-06", "s").astype(np.int64))
WEEKS, PER_WEEK = 6, 30
APART = 5  # rows between two mutations: none meets another's neighbours
HEADER = ("Date", "Open", "High", "Low", "Close", "Volume")
VOLUME = len(HEADER) - 1
REPAIR = ImportPolicy(
    unterminated="drop",
    ragged="drop",
    bad_time="drop",
    bad_number="drop",
    empty_bar="drop",
    missing="drop",
    nonpositive="drop",
    disordered="widen",
    bad_volume="zero",
    conflict="keep_first",
    off_phase="drop",
    too_close="drop",
    magnitude="drop",
)
REFUSE = ImportPolicy(
    **{
        name: "refuse"
        for name in ImportPolicy.model_fields
        if name not in ("skipped_hour", "repeated_hour")
    }
)


@dataclass(eq=False)
class Row:
    """A line of the file. `seconds` is when its bar begins, `raw` replaces its fields."""

    fields: list[str]
    seconds: int
    raw: str | None = None
    kind: str | None = None


@dataclass
class DirtyFile:
    """A file and what the importer has to make of it.

    Attributes:
        rows: Lines, the header left out.
        expected: Kind of dirt -> rows.
        bars: Start of a bar -> its four prices and volume.
        blank: Blank lines.
        terminated: Whether the last line ends.
    """

    rows: list[Row]
    expected: Counter[str] = field(default_factory=Counter)
    bars: dict[int, tuple[float, ...]] = field(default_factory=dict)
    blank: int = 0
    terminated: bool = True

    def find(self, row: Row, kind: str) -> None:
        """Notes that a row is dirty."""
        row.kind = kind
        self.expected[kind] += 1

    def text(self) -> str:
        lines = [",".join(HEADER)]
        lines += [",".join(row.fields) if row.raw is None else row.raw for row in self.rows]
        return "\n".join(lines) + ("\n" if self.terminated else "")

    def first_line(self, kind: str) -> int:
        """Line of the first row of a kind, the header being line 1."""
        return next(place for place, row in enumerate(self.rows) if row.kind == kind) + 2


def clean_file(generator: np.random.Generator) -> DirtyFile:
    """A random walk at a random level, as text of five decimals; wicks are never empty."""
    starts = [
        START + week * 7 * 86_400 + slot * BAR for week in range(WEEKS) for slot in range(PER_WEEK)
    ]
    level = float(np.exp(generator.uniform(np.log(0.5), np.log(20_000.0))))
    close = level * np.exp(np.cumsum(generator.normal(0.0, 0.003, len(starts))))
    rows = []
    bars = {}
    for seconds, last in zip(starts, close, strict=True):
        first = last * float(np.exp(generator.normal(0.0, 0.003)))
        high = max(first, last) * (1.0 + generator.uniform(0.001, 0.003))
        low = min(first, last) * (1.0 - generator.uniform(0.001, 0.003))
        texts = [f"{price:.5f}" for price in (first, high, low, last)]
        volume = str(int(generator.integers(1, 100_000)))
        rows.append(Row([time_text(seconds), *texts, volume], seconds))
        bars[seconds] = tuple(float(text) for text in (*texts, volume))
    return DirtyFile(rows, bars=bars)


def time_text(seconds: int) -> str:
    return str(np.datetime64(seconds, "s")).replace("T", " ")


Mutation = Callable[[DirtyFile, Row, np.random.Generator], None]


def _drop(file: DirtyFile, row: Row, kind: str) -> None:
    file.find(row, kind)
    del file.bars[row.seconds]


def _one_of(generator: np.random.Generator, texts: Sequence[str]) -> str:
    return texts[int(generator.integers(len(texts)))]


def duplicate(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """An exact copy, somewhere behind its original."""
    copy = Row(list(row.fields), row.seconds)
    place = file.rows.index(row) + 1
    # Not behind the last row: that one may lose its end.
    file.rows.insert(int(generator.integers(place, len(file.rows))), copy)
    file.find(copy, "duplicate")


def conflict(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """The same time again, with another close."""
    twin = Row([*row.fields], row.seconds)
    twin.fields[4] = f"{(float(row.fields[2]) + float(row.fields[3])) / 2.0:.7f}"
    file.rows.insert(file.rows.index(row) + 1, twin)
    file.find(twin, "conflict")


def unsorted(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """The row stands up to three rows too late."""
    place = file.rows.index(row)
    file.rows.remove(row)
    file.rows.insert(place + int(generator.integers(2, 4)), row)
    file.find(row, "unsorted")


def too_close(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """Another bar less than half a bar later, at a full hour like all."""
    seconds = row.seconds + 3_600
    extra = Row([time_text(seconds), *row.fields[1:]], seconds)
    file.rows.insert(file.rows.index(row) + 1, extra)
    file.find(extra, "too_close")


def off_phase(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A bar that begins some minutes or seconds late."""
    _drop(file, row, "off_phase")
    seconds = row.seconds + int(generator.integers(1, 3_600))
    row.fields[0] = time_text(seconds)


def removed(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A gap: the row is not there."""
    file.rows.remove(row)
    del file.bars[row.seconds]


def blank_line(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A line of nothing, or of spaces."""
    raw = _one_of(generator, ("", "   ", "\t"))
    file.rows.insert(file.rows.index(row), Row([], 0, raw=raw))
    file.blank += 1


def missing(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """One to three prices are words for nothing."""
    places = generator.choice(4, int(generator.integers(1, 4)), replace=False) + 1
    for place in places:
        row.fields[place] = _one_of(generator, ("", "NaN", "nan", "null", "N/A", "None", "  "))
    _drop(file, row, "missing")


def empty_bar(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """Four zeros, or four times nothing."""
    text = _one_of(generator, ("0", "0.0", "", "nan", "0.00000"))
    row.fields[1:] = [text] * 4 + ["0"]
    _drop(file, row, "empty_bar")


def nonpositive(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A zero, or a price below zero as oil had on 2020-04-20."""
    place = int(generator.integers(1, 5))
    row.fields[place] = _one_of(generator, ("0", "0.00", f"-{row.fields[place]}", "-37.63"))
    _drop(file, row, "nonpositive")


def swapped_extremes(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """High and low in each other's place: widening puts them right."""
    row.fields[2], row.fields[3] = row.fields[3], row.fields[2]
    file.find(row, "disordered")


def close_outside(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A close beyond high or low: widening takes it in."""
    open_, high, low, _, volume = file.bars[row.seconds]
    above = bool(generator.integers(2))
    row.fields[4] = f"{high * 1.01:.6f}" if above else f"{low * 0.99:.6f}"
    close = float(row.fields[4])
    file.bars[row.seconds] = (open_, max(high, close), min(low, close), close, volume)
    file.find(row, "disordered")


def bad_number(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """Something else where a number should be."""
    wrong = ("abc", "1.1.8", '"1,17"', "1e999", "--1.2", "∞", "inf", "0x1F", "1_0", "$1.2", "1 2")
    row.fields[int(generator.integers(1, 6))] = _one_of(generator, wrong)
    _drop(file, row, "bad_number")


def bad_volume(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A volume below zero, or none."""
    row.fields[VOLUME] = _one_of(generator, ("-5", "", "nan", "-0.1"))
    file.bars[row.seconds] = (*file.bars[row.seconds][:4], 0.0)
    file.find(row, "bad_volume")


def bad_time(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """No time, an impossible one, or one in another form than the file's."""
    date, clock = row.fields[0].split(" ")
    wrong = (
        "",
        "garbage",
        "2020-13-01 00:00:00",
        "2020-02-30 00:00:00",
        f"{date} 25:00:00",
        f"{date} 10:61:00",
        date,
        f"{row.seconds}",
        f"{date} {clock}+02:00",
        "06.01.2020 00:00:00",
        f"{date}{clock}",
        "Date",
    )
    row.fields[0] = _one_of(generator, wrong)
    _drop(file, row, "bad_time")


def ragged(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """A field too few or too many, or a quote alone."""
    which = int(generator.integers(4))
    fields = list(row.fields)
    if which == 0:
        del fields[int(generator.integers(len(fields)))]
    elif which == 1:
        fields.insert(int(generator.integers(len(fields) + 1)), "7")
    elif which == 2:
        fields = fields[:1]
    else:
        fields[1] = '"' + fields[1]
    row.raw = ",".join(fields)
    _drop(file, row, "ragged")


def lost_point(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """All four prices of the row without their decimal point."""
    row.fields[1:5] = [text.replace(".", "") for text in row.fields[1:5]]
    _drop(file, row, "magnitude")


def quoted(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """Quotes around some fields: no dirt."""
    for place in generator.choice(6, 3, replace=False):
        row.fields[place] = f'"{row.fields[place]}"'


def spaced(file: DirtyFile, row: Row, generator: np.random.Generator) -> None:
    """Space around fields, a plus sign, an exponent: no dirt."""
    row.fields[1] = f"  +{row.fields[1]} "
    row.fields[5] = f"{row.fields[5]}.0e0"


MUTATIONS: tuple[Mutation, ...] = (
    duplicate,
    conflict,
    unsorted,
    off_phase,
    too_close,
    removed,
    blank_line,
    missing,
    empty_bar,
    nonpositive,
    swapped_extremes,
    close_outside,
    bad_number,
    bad_volume,
    bad_time,
    ragged,
    lost_point,
    quoted,
    spaced,
)


def cut_end(file: DirtyFile, generator: np.random.Generator) -> None:
    """The last line is cut somewhere, and has no end."""
    row = file.rows[-1]
    line = ",".join(row.fields)
    row.raw = line[: int(generator.integers(1, len(line) + 1))]
    file.terminated = False
    _drop(file, row, "unterminated")


def dirty_file(generator: np.random.Generator, mutations: Sequence[Mutation]) -> DirtyFile:
    """A clean file with each mutation on one to three rows of its own.

    The first and the last rows stay clean but for an end that is cut, so that the span is known.
    """
    file = clean_file(generator)
    free = [file.rows[place] for place in range(APART, len(file.rows) - APART, APART)]
    order = [free[place] for place in generator.permutation(len(free))]
    for mutation in mutations:
        for _ in range(int(generator.integers(1, 4))):
            if order:
                mutation(file, order.pop(), generator)
    if generator.random() < 0.2:
        cut_end(file, generator)
    return file


SOURCE = ImportSource(symbol="TEST", quote="USD", bar="4h", stamped="open", clock="UTC")


def judge_repair(imported: Imported, file: DirtyFile) -> list[str]:
    """What is wrong with an import under `REPAIR`; nothing, if the list is empty."""
    wrong = []
    report, bars = imported.report, imported.bars
    found = {finding.kind: finding.rows for finding in report.findings}
    if found != +file.expected:
        wrong.append(f"counts: expected {dict(file.expected)}, found {found}")
    dropped = sum(finding.dropped for finding in report.findings)
    if report.rows_read != len(file.rows) - file.blank or report.blank_lines != file.blank:
        wrong.append(f"rows read {report.rows_read}, blank lines {report.blank_lines}")
    if report.rows_read - dropped != report.rows_kept or report.rows_kept != len(bars):
        wrong.append(f"{report.rows_read} read, {dropped} dropped, {report.rows_kept} kept")
    starts = bars.stamps // NANOSECONDS - BAR
    expected = sorted(file.bars)
    if starts.tolist() != expected:
        wrong.append(f"stamps: {set(starts.tolist()) ^ set(expected)}")
    else:
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        wanted = np.array([file.bars[start] for start in expected])
        for column, values in zip(columns, wanted.T, strict=True):
            if column.tobytes() != values.tobytes():
                wrong.append(f"bytes differ at {np.flatnonzero(column != values).tolist()}")
    for finding in report.findings:
        # With a copy between a row and the one it passed, either of the two may have moved.
        if finding.kind == "unsorted" and "duplicate" in file.expected:
            continue
        if finding.line != file.first_line(finding.kind):
            wrong.append(
                f"{finding.kind}: line {finding.line}, not {file.first_line(finding.kind)}"
            )
    wrong += _judge_gaps(imported, file)
    return wrong


def _judge_gaps(imported: Imported, file: DirtyFile) -> list[str]:
    """Bars that are not there are missing, unless their hour of the week has few bars left."""
    last = max(file.bars)
    all_starts = {
        START + week * 7 * 86_400 + slot * BAR for week in range(WEEKS) for slot in range(PER_WEEK)
    }
    absent = [start for start in all_starts - set(file.bars) if start < last]
    slots = Counter((start - START) % (7 * 86_400) for start in absent)
    if slots and max(slots.values()) > 1:
        return []
    missing_bars = imported.report.gaps.missing_bars
    return [] if missing_bars == len(absent) else [f"{missing_bars} missing, not {len(absent)}"]


def judge_refusal(error: MtquantError, file: DirtyFile, name: str) -> list[str]:
    """What is wrong with a refusal under `REFUSE`: it names file, line, rule, value and remedy."""
    wrong = [] if isinstance(error, DataError) else [f"raised {type(error).__name__}"]
    kind = error.rule.rpartition("[")[2].partition("]")[0]
    if not error.field.startswith(name) or kind not in file.expected or not error.remedy:
        return [*wrong, f"refused with {error}"]
    if kind == "unsorted" and "duplicate" in file.expected:
        return wrong
    if error.field != f"{name}, line {file.first_line(kind)}":
        wrong.append(f"{kind} refused at {error.field}, not line {file.first_line(kind)}")
    return wrong


def judge(path: Path, file: DirtyFile) -> list[str]:
    """Writes a dirty file and imports it under both policies; what is wrong with either."""
    path.write_text(file.text(), encoding="utf-8", newline="")
    try:
        wrong = judge_repair(import_file(path, SOURCE, REPAIR), file)
    except MtquantError as error:
        wrong = [f"repair refused: {error}"]
    try:
        import_file(path, SOURCE, REFUSE)
        if +file.expected:
            wrong.append(f"not refused: {dict(file.expected)}")
    except MtquantError as error:
        wrong += judge_refusal(error, file, str(path))
    return wrong


def some_mutations(generator: np.random.Generator, number: int) -> list[Mutation]:
    """Mutations for file `number` of a series: each alone once, then two to five together."""
    if number < len(MUTATIONS):
        return [MUTATIONS[number]]
    chosen = generator.choice(len(MUTATIONS), int(generator.integers(2, 6)), replace=False)
    return [MUTATIONS[place] for place in chosen]


def spoil(content: bytes, generator: np.random.Generator) -> bytes:
    """Bytes changed, cut out, repeated or put in at random places: nobody knows what is meant."""
    spoiled = bytearray(content)
    for _ in range(int(generator.integers(1, 6))):
        place = int(generator.integers(len(spoiled) + 1))
        size = int(generator.integers(1, 40))
        which = int(generator.integers(4))
        if which == 0:
            del spoiled[place : place + size]
        elif which == 1:
            spoiled[place:place] = generator.bytes(size)
        elif which == 2:
            spoiled[place:place] = spoiled[place : place + size]
        else:
            spoiled[place : place + 1] = _one_of(generator, "0123456789.,;\t\n\r\"' -:eN").encode()
    return bytes(spoiled)
