# SPDX-License-Identifier: Apache-2.0
"""The import report: what stood in the file, what was done about it, and what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mtquant.core.checked import Section
from mtquant.core.records import write_atomically
from mtquant.data.importing.gaps import GapSummary
from mtquant.data.importing.magnitude import Spike
from mtquant.data.importing.policy import ImportPolicy
from mtquant.data.importing.sheet import Finding
from mtquant.data.importing.source import ImportSource


class ImportReport(Section):
    """What an import did; `rows_read` is `rows_kept` and the dropped rows of all findings.

    Attributes:
        file: Name of the file.
        sha256: Of its bytes.
        encoding, delimiter: How it was split.
        columns: Role -> the file's own name.
        ignored_columns: Names of those that nobody read.
        times: How its times are written, and by which clock they were read.
        rows_read: Lines behind the header that are not blank.
        rows_kept: Rows that became bars.
        blank_lines: Lines that were passed over.
        findings: One per kind of dirt that was found.
        spike_count: Prices that stand out and are kept as they are.
        spikes: The largest of them.
        gaps: What is missing.
        first, last: Close stamps of the first and the last bar.
        bars_per_year: Bars in 365.25 days.
        source, policy: What was asked for.
    """

    file: str
    sha256: str
    encoding: str
    delimiter: str
    columns: Mapping[str, str]
    ignored_columns: tuple[str, ...]
    times: str
    rows_read: int
    rows_kept: int
    blank_lines: int
    findings: tuple[Finding, ...]
    spike_count: int
    spikes: tuple[Spike, ...]
    gaps: GapSummary
    first: str
    last: str
    bars_per_year: float
    source: ImportSource
    policy: ImportPolicy

    def count(self, kind: str) -> int:
        """Rows that fell under a kind of dirt."""
        return sum(finding.rows for finding in self.findings if finding.kind == kind)

    def notes(self) -> tuple[str, ...]:
        """What every later report must repeat: the bars' notes."""
        notes = [f"import of {self.file}: {finding}" for finding in self.findings]
        if "volume" not in self.columns:
            notes.append("volume is unknown and counts as 0")
        return tuple(notes)

    def to_json(self) -> str:
        """The report for programs."""
        return json.dumps(self.model_dump(mode="json"), indent=1) + "\n"

    def write(self, path: Path) -> None:
        """Writes `to_json`, atomically."""
        write_atomically(path, lambda aside: aside.write_text(self.to_json(), encoding="utf-8"))

    def to_text(self) -> str:
        """The report for people."""
        source = self.source
        used = ", ".join(f"{role} = {name}" for role, name in self.columns.items())
        scale = f", divided by {source.price_scale:g}" if source.price_scale else ", as written"
        lines = [
            f"{source.symbol}  {self.file}  (sha256 {self.sha256[:12]})",
            f"  rows      {self.rows_read:,} read, {self.rows_kept:,} kept,"
            f" {self.rows_read - self.rows_kept:,} dropped",
            f"  span      {self.first} to {self.last}, {self.bars_per_year:,.0f} bars a year",
            f"  text      {self.encoding}, separated by {self.delimiter}",
            f"  columns   {used}",
        ]
        if self.ignored_columns:
            lines.append(f"            ignored: {', '.join(self.ignored_columns)}")
        lines += [
            f"  times     {self.times}; stamped {source.stamped}, bars of {source.bar}",
            f"  prices    {source.quote}{scale}",
            *self._dirt(),
            *gap_lines(self.gaps),
        ]
        return "\n".join(lines)

    def _dirt(self) -> list[str]:
        lines = ["  dirt      none found" if not self.findings else "  dirt"]
        for finding in self.findings:
            lines.append(f"    {finding}; first at line {finding.line}: {finding.value}")
        if self.blank_lines:
            lines.append(f"    {counted(self.blank_lines, 'blank line')} passed over")
        if self.spike_count:
            lines.append(f"  spikes    {self.spike_count} kept as they are; the largest:")
        for spike in self.spikes[:3]:
            lines.append(
                f"    line {spike.line}, closed {spike.stamp}: {spike.moves:g} typical moves"
            )
        return lines


def counted(number: int, noun: str) -> str:
    """A number and its noun, ``"1 bar"`` or ``"2,000 bars"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def gap_lines(gaps: GapSummary) -> list[str]:
    """What is missing, for people."""
    if gaps.known_week:
        missing, count = counted(gaps.missing_bars, "bar"), counted(gaps.count, "gap")
        text = f"{missing} missing in {count}, by the file's own week"
    else:
        text = f"{gaps.count:,} (too short to know its week: every longer step counts)"
    lines = [f"  gaps      {text}; {counted(gaps.steps, 'step')} longer than a bar"]
    for gap in gaps.longest[:3]:
        missing = f": {counted(gap.missing_bars, 'bar')}" if gaps.known_week else ""
        lines.append(f"    {gap.after} to {gap.until}{missing}")
    return lines
