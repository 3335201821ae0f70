# SPDX-License-Identifier: Apache-2.0
"""Features one bar at a time, as paper trading computes them, against all at once."""

from __future__ import annotations

from mtquant.data.panel import Panel
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.workflows.verify.compare import Differences, deviations
from mtquant.workflows.verify.record import Record
from mtquant.workflows.verify.subject import Subject

NAME = "features as a stream"
REMEDY = (
    "The feature gives other numbers one bar at a time, so paper trading would not see what the "
    "backtest saw. Let `value` and `batch` compute the same, and keep nothing outside the state."
)
BEHIND = 300  # rows compared behind the warm-up


def check_stream(subject: Subject) -> Record:
    """Streams the last bars of every instrument."""
    names = without_ages(tuple(subject.policy.feature_names))
    length = subject.warmup + BEHIND
    found, compared = [], 0
    for own in subject.bars:
        bars = own.rows(slice(max(0, len(own) - length), None))
        if any(":" in name for name in names):
            why = "features that compare with another instrument have no stream of one instrument"
            return Record.not_checked(NAME, why)
        symbols = [bars.symbol]
        pipeline = TimeframePipeline.from_config(
            subject.config, subject.instruments, symbols, names
        )
        rows = pipeline.on_panel(Panel.from_bars([bars]), [bars])[:, 0]
        stream = pipeline.stream(bars.symbol, bars.bar_seconds)
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume, bars.stamps)
        streamed = rows.copy()
        for t in range(len(bars)):
            streamed[t] = stream.update(*(column[t].item() for column in columns))
        panel_names = list(pipeline.panel_names)
        symbols = [bars.symbol] * len(panel_names)
        differences = Differences(subject, panel_names, symbols, deviations(rows))
        first = len(subject.market.panel) - len(bars)
        how = "one bar at a time"
        differences.add(rows, streamed, first, first + len(bars) - 1, how)
        found += differences.findings()
        compared += len(bars)
    looked = f"{len(names)} features are the same bytes one bar at a time, {compared:,} bars"
    return Record.of(NAME, found, looked, REMEDY)
