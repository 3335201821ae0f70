# SPDX-License-Identifier: Apache-2.0
"""`mtquant data download`: progress, what came of each symbol, and exit code 2 if any failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.console import Console
from rich.table import Table

from mtquant.cli.console import interruptible, progress_bars, say
from mtquant.core.errors import ConfigError
from mtquant.core.runs import check_writable
from mtquant.data.instruments import Instrument, instrument_of, load_instruments

if TYPE_CHECKING:
    from mtquant.data.bars import Bars
    from mtquant.data.yahoo.cache import Entry
    from mtquant.data.yahoo.download import Update, YahooDownloader

SHOWN = 10  # of what differs row by row


def run(
    symbols: Sequence[str],
    start: str | None,
    end: str | None,
    bar: str,
    output: Path | None,
    cache: Path,
    revised: Literal["keep", "replace", "refuse"],
    instruments_path: Path | None,
) -> None:
    """Downloads as the flags say and prints what came of it.

    Args:
        symbols: Names in the instruments file; none for all of them.
        start: First day, ISO; None for all that Yahoo has.
        end: First day not wanted any more, ISO; None for now.
        bar: Bar length.
        output: Where adjusted bars are written; None for nowhere.
        cache: The cache.
        revised: What to do where Yahoo changed a cached bar.
        instruments_path: The instruments file; None for the one that ships.

    Raises:
        ConfigError: A date is none, or the span is empty.
        RulesError: A symbol is not in the instruments file.
        RunError: The cache or the output cannot be written.
        DataError: Yahoo has no bars of that length.
        Exit: With code 2, where a symbol failed.
    """
    known = load_instruments(instruments_path)
    chosen = [instrument_of(known, s) for s in dict.fromkeys(symbols)] or list(known.values())
    first, until = _day(start, "--start"), _day(end, "--end")
    if first is not None and until is not None and first >= until:
        raise ConfigError("--end", f"must come after --start ({first})", end, "Mend the dates.")
    for folder in (cache, output):
        if folder is not None:
            check_writable(folder)
    console = Console()
    with interruptible(f"what was downloaded is in {cache}; run the command again to go on"):
        updates = _download(yahoo(cache, revised), chosen, bar, first, until, console)
    _show(updates, bar, console)
    failed = [update for update in updates if update.error is not None]
    if output is not None:
        for update in updates:
            if update.entry is not None:
                instrument = known[update.symbol]
                _write(update.entry, instrument, output, first, until, console)
    for update in failed:
        kept = " (what is cached is kept)" if update.entry is not None else ""
        typer.secho(f"error: {update.error}{kept}", fg=typer.colors.RED, err=True)
    if failed:
        raise typer.Exit(2)


def yahoo(cache: Path, revised: Literal["keep", "replace", "refuse"]) -> YahooDownloader:
    """A downloader that asks Yahoo."""
    from mtquant.data.yahoo.download import YahooDownloader

    return YahooDownloader(cache, revised=revised)


def _download(
    downloader: YahooDownloader,
    chosen: Sequence[Instrument],
    bar: str,
    start: date | None,
    end: date | None,
    console: Console,
) -> list[Update]:
    """The updates, with a bar that counts symbols and names what is waited for."""
    updates: list[Update] = []
    with progress_bars(console) as bars:
        task = bars.add_task("download", total=len(chosen), rate="")

        def waiting(text: str) -> None:
            bars.update(task, rate=text)

        for update in downloader.update_all(chosen, bar, start, end, waiting):
            updates.append(update)
            bars.update(task, completed=len(updates), rate=update.symbol)
        bars.update(task, rate="")
    return updates


def _show(updates: Sequence[Update], bar: str, console: Console) -> None:
    """A row per symbol, then what a user should look at."""
    table = Table(title=f"Yahoo Finance, {bar} bars", title_justify="left")
    for heading in ("symbol", "outcome", "bars", "first", "last", "actions", "missing weekdays"):
        left = heading in ("symbol", "outcome", "first", "last")
        table.add_column(heading, justify="left" if left else "right")
    for update in updates:
        cells = [update.symbol, update.outcome]
        if update.entry is not None:
            manifest = update.entry.manifest
            cells += [f"{manifest.rows:,}", manifest.first[:16], manifest.last[:16]]
            cells.append(str(manifest.actions))
        if update.gaps is not None:
            cells.append(f"{len(update.gaps.missing):,} of {update.gaps.weekdays:,}")
        table.add_row(*cells)
    table.caption = "times are UTC closes; missing weekdays include holidays"
    console.print(table)
    for update in updates:
        for line in _facts(update):
            say(console, f"{update.symbol}: {line}")


def _facts(update: Update) -> list[str]:
    """Repairs, gaps, revisions and remarks of one symbol, a line each."""
    lines = []
    for kind, rows in update.repairs.items():
        more = f" to {rows[-1]}" if len(rows) > 1 else ""
        lines.append(f"{len(rows)} rows {kind} ({rows[0]}{more})")
    gaps = update.gaps
    if gaps is not None and gaps.longest is not None and gaps.longest_days > 1:
        lines.append(
            f"longest gap {gaps.longest_days} weekdays, {gaps.longest[0]} to {gaps.longest[1]}"
        )
    if gaps is not None and gaps.short:
        lines.append(f"{len(gaps.short)} days with less than half the usual bars")
    lines += [str(revision) for revision in update.revisions[:SHOWN]]
    if len(update.revisions) > SHOWN:
        lines.append(f"{len(update.revisions) - SHOWN} more figures were revised")
    return [*lines, *update.remarks]


def _write(
    entry: Entry,
    instrument: Instrument,
    output: Path,
    start: date | None,
    end: date | None,
    console: Console,
) -> None:
    """Adjusted bars as SYMBOL.parquet, which `data.source: parquet` reads."""
    from mtquant.data.files import write_parquet
    from mtquant.data.yahoo.frames import DAY_SECONDS, yahoo_session

    bars = _wanted(entry, start, end)
    path = output / f"{bars.symbol}.parquet"
    if len(bars) < 2:
        say(console, f"{bars.symbol}: no bars in that span, {path} is not written", style="yellow")
        return
    daily = bars.bar_seconds >= DAY_SECONDS
    write_parquet(bars, path, yahoo_session(instrument) if daily else None)
    say(console, f"wrote {path} ({len(bars):,} bars)")


def _wanted(entry: Entry, start: date | None, end: date | None) -> Bars:
    """Bars of the days in [start, end), adjusted with what was known at the last of them."""
    import pandas as pd

    from mtquant.data.actions import adjusted

    zone = entry.manifest.session.split()[-1]
    stamps = entry.bars.stamps
    first, until = (
        None if day is None else int(pd.Timestamp(day).tz_localize(zone).value)
        for day in (start, end)
    )
    last = int(stamps[-1]) if until is None else until - 1
    known = adjusted(entry.bars, entry.actions, last)
    return known.between(int(stamps[0]) if first is None else first, last + 1)


def _day(text: str | None, flag: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(flag, "must be a day", text, "For example 2010-01-01.") from error
