# SPDX-License-Identifier: Apache-2.0
"""Downloading: retries, one cache entry per symbol, and a report that names what failed.

Every symbol is asked for by itself and kept as soon as it is read, so an interrupted download goes
on where it stopped and one bad ticker costs nobody else anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mtquant.core.checked import did_you_mean
from mtquant.core.errors import DataError
from mtquant.core.lengths import length_seconds
from mtquant.data.actions import adjusted
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.instruments import Instrument
from mtquant.data.stamps import session_stamps
from mtquant.data.yahoo.cache import Entry, read_entry, write_entry
from mtquant.data.yahoo.frames import (
    DAY_SECONDS,
    DELAY_NS,
    NOTED,
    Repairs,
    read_answer,
    with_notes,
    yahoo_session,
)
from mtquant.data.yahoo.gaps import Gaps, find_gaps
from mtquant.data.yahoo.merging import put_together
from mtquant.data.yahoo.retry import Notify, Retry
from mtquant.data.yahoo.revisions import Policy, Revision
from mtquant.data.yahoo.transport import Failure, Transport, YfinanceTransport

NOT_ASKED = Failure("failed", "not asked: the two symbols before it failed for all")
Outcome = Literal["downloaded", "updated", "current", "failed"]


@dataclass(frozen=True)
class YahooBar:
    """A bar length at Yahoo.

    Attributes:
        interval: Yahoo's name. "60m" and not "1h": yfinance files dividends of an interval that
            ends in "m" by their day (`utils.safe_merge_dfs`).
        reach_days: How far back Yahoo answers; None for all of history. One day less than it
            says, since it counts to the second.
        overlap_days: Cached days that an update asks for again, to notice revisions.
    """

    interval: str
    reach_days: int | None
    overlap_days: int


YAHOO_BARS = {
    "1d": YahooBar("1d", None, 14),
    "1h": YahooBar("60m", 729, 7),
    "15min": YahooBar("15m", 59, 5),
    "5min": YahooBar("5m", 59, 5),
}


@dataclass(frozen=True)
class Update:
    """What became of one symbol.

    Attributes:
        symbol: The instrument.
        outcome: ``"downloaded"`` (was not cached), ``"updated"``, ``"current"`` (no bar can have
            closed since, so nobody was asked) or ``"failed"`` (what was cached is kept).
        entry: What is cached now, if anything.
        error: Why it failed.
        kind: Sort of the failure, where a request failed.
        gaps: Missing weekdays.
        repairs: What was repaired in this answer.
        revisions: Figures that differ from the cached ones, each by itself.
        remarks: Further facts to look at.
    """

    symbol: str
    outcome: Outcome
    entry: Entry | None = None
    error: DataError | None = None
    kind: str | None = None
    gaps: Gaps | None = None
    repairs: Repairs = field(default_factory=dict)
    revisions: tuple[Revision, ...] = ()
    remarks: tuple[str, ...] = ()

    def kept(self) -> Entry:
        """What is cached now.

        Raises:
            DataError: Nothing is.
        """
        if self.entry is None:
            remedy = "Download it."
            raise self.error or DataError(self.symbol, "must be cached", None, remedy)
        return self.entry


def _now() -> int:
    return time.time_ns()


@dataclass(frozen=True)
class YahooDownloader:
    """Brings the cache up to date.

    Attributes:
        folder: The cache.
        transport: Who asks Yahoo.
        retry: How patiently.
        revised: Where Yahoo changed a cached bar: ``"keep"`` the cached one, ``"replace"`` it
            (asks for the whole history again) or ``"refuse"`` the symbol.
        clock: UTC nanoseconds.
    """

    folder: Path
    transport: Transport = field(default_factory=YfinanceTransport)
    retry: Retry = field(default_factory=Retry)
    revised: Policy = "keep"
    clock: Callable[[], int] = _now

    def update_all(
        self,
        instruments: Iterable[Instrument],
        bar: str,
        start: date | None = None,
        end: date | None = None,
        notify: Notify | None = None,
    ) -> Iterator[Update]:
        """Updates one symbol after the other and yields what became of each.

        After a symbol that the network or a rate limit stopped, the next one is asked for once
        instead of `retry.attempts` times. If that fails too, the others are not asked for: what
        stopped two stops them all.

        Args:
            instruments: What to bring.
            bar: Bar length, one of `YAHOO_BARS`.
            start: First day wanted; None for all that Yahoo has.
            end: First day not wanted any more, to know whether there is anything to ask for.
            notify: Told, in a few words, what is being waited for.

        Raises:
            DataError: Yahoo has no bars of that length.
        """
        yahoo_bar(bar)
        stopped = 0
        for instrument in instruments:
            attempts = (self.retry.attempts, 1, 0)[min(stopped, 2)]
            update = self._update(instrument, bar, start, end, attempts, notify)
            if update.outcome != "current" and attempts:
                stopped = stopped + 1 if update.kind in ("rate limited", "unreachable") else 0
            yield update

    def _update(
        self,
        instrument: Instrument,
        bar: str,
        start: date | None,
        end: date | None,
        attempts: int,
        notify: Notify | None,
    ) -> Update:
        """One symbol; a failure is part of the result."""
        entry: Entry | None = None
        try:
            entry = read_entry(self.folder, instrument, bar)
            if entry is not None and self._is_current(entry, instrument, bar, start, end):
                return _reported(Update(instrument.symbol, "current", entry), instrument)
            return self._download(instrument, bar, start, entry, attempts, notify)
        except DataError as error:
            return Update(instrument.symbol, "failed", entry, error=error)

    def _is_current(
        self,
        entry: Entry,
        instrument: Instrument,
        bar: str,
        start: date | None,
        end: date | None,
    ) -> bool:
        """Whether no bar that is wanted can be missing from the cache."""
        if self.revised == "replace" or not _covers(entry, start):
            return False
        zone = yahoo_session(instrument).timezone
        until = self.clock()
        if end is not None:
            until = min(until, pd.Timestamp(end).tz_localize(zone).value)
        return next_close(entry.bars, instrument, bar) + DELAY_NS > until

    def _download(
        self,
        instrument: Instrument,
        bar: str,
        start: date | None,
        entry: Entry | None,
        attempts: int,
        notify: Notify | None,
    ) -> Update:
        """Asks, reads, compares and keeps."""
        if not attempts:
            error = _request_error(instrument, NOT_ASKED)
            return Update(instrument.symbol, "failed", entry, error=error, kind=NOT_ASKED.kind)
        first = self._first_day(bar, start, entry)
        frame = self.retry.ask(
            lambda: self.transport.download(instrument.yahoo, first, yahoo_bar(bar).interval),
            attempts,
            None if notify is None else lambda text: notify(f"{instrument.symbol}: {text}"),
        )
        if isinstance(frame, Failure):
            error = _request_error(instrument, frame)
            return Update(instrument.symbol, "failed", entry, error=error, kind=frame.kind)
        now = self.clock()
        answer = read_answer(frame, instrument, bar, now)
        merged = put_together(answer, instrument, entry, self.revised)
        asked = start if entry is None or not _covers(entry, start) else _asked_from(entry)
        stored = write_entry(
            self.folder,
            instrument,
            bar,
            with_notes(merged.bars, instrument.yahoo, bar, merged.repairs),
            merged.actions,
            asked_from=None if asked is None else asked.isoformat(),
            downloaded_at=datetime.fromtimestamp(now // NANOSECONDS, UTC).isoformat(),
            source=self.transport.name,
            repairs={kind: rows for kind, rows in merged.repairs.items() if kind in NOTED},
            replaces=entry,
        )
        outcome: Outcome = "downloaded" if entry is None else "updated"
        update = Update(
            instrument.symbol,
            outcome,
            stored,
            repairs=answer.repairs,
            revisions=merged.revisions,
            remarks=(*answer.warnings, *merged.remarks),
        )
        return _reported(update, instrument)

    def _first_day(self, bar: str, start: date | None, entry: Entry | None) -> date | None:
        """First day to ask for: an overlap with what is cached, or all that is wanted."""
        wanted = start
        if entry is not None and _covers(entry, start):
            wanted = _asked_from(entry)
            if self.revised != "replace":
                last = _day(int(entry.bars.stamps[-1]))
                wanted = last - timedelta(days=yahoo_bar(bar).overlap_days)
        reach = yahoo_bar(bar).reach_days
        if reach is None:
            return wanted
        earliest = _day(self.clock()) - timedelta(days=reach)
        return earliest if wanted is None else max(wanted, earliest)


def yahoo_bar(bar: str) -> YahooBar:
    """What Yahoo calls a bar length.

    Raises:
        DataError: It has none such.
    """
    if bar not in YAHOO_BARS:
        remedy = did_you_mean(bar, list(YAHOO_BARS))
        raise DataError("bar", f"must be one of {', '.join(YAHOO_BARS)} at Yahoo", bar, remedy)
    return YAHOO_BARS[bar]


def next_close(bars: Bars, instrument: Instrument, bar: str) -> int:
    """The earliest moment at which a bar after the last one can be closed, UTC nanoseconds."""
    last = int(bars.stamps[-1])
    seconds = length_seconds(bar, "bar")
    if seconds < DAY_SECONDS:
        return last + seconds * NANOSECONDS
    session = yahoo_session(instrument)
    local = pd.Timestamp(last, tz="UTC").tz_convert(session.timezone).date()
    following = np.busday_offset(local, 1, roll="backward")
    dates = pd.DatetimeIndex([following])
    return int(session_stamps(dates, instrument.symbol, session.timezone, session.close)[0])


def yahoo_bars(
    folder: Path, instrument: Instrument, bar: str, downloader: YahooDownloader | None = None
) -> Bars:
    """Cached bars of an instrument, adjusted with the actions known at the last of them.

    What is cached is used as it is, so that a run can be repeated; what is not is downloaded, once
    and whole. ``mtquant data download`` brings the cache up to date.

    Args:
        folder: The cache.
        instrument: Whose bars.
        bar: Bar length, one of `YAHOO_BARS`.
        downloader: Who downloads; left out, yfinance into `folder`.

    Raises:
        DataError: The entry is damaged, or nothing is cached and the download failed.
    """
    entry = read_entry(folder, instrument, bar)
    if entry is None:
        (update,) = (downloader or YahooDownloader(folder)).update_all([instrument], bar)
        entry = update.kept()
    return adjusted(entry.bars, entry.actions, int(entry.bars.stamps[-1]))


def _reported(update: Update, instrument: Instrument) -> Update:
    """The update with its gap report."""
    if update.entry is None:
        return update
    return replace(update, gaps=find_gaps(update.entry.bars, yahoo_session(instrument).timezone))


def _request_error(instrument: Instrument, failure: Failure) -> DataError:
    remedies = {
        "rate limited": "Wait some minutes and run the command again.",
        "unreachable": "Check the network; what is cached is kept.",
        "refused": "Check the ticker in the instruments file (key yahoo).",
        "failed": "Try again later.",
    }
    return DataError(
        f"{instrument.symbol} ({instrument.yahoo})",
        f"must be answered by Yahoo ({failure.kind})",
        failure.text,
        remedies[failure.kind],
    )


def _asked_from(entry: Entry) -> date | None:
    text = entry.manifest.asked_from
    return None if text is None else date.fromisoformat(text)


def _covers(entry: Entry, start: date | None) -> bool:
    """Whether the cache was asked for everything from `start` on."""
    asked = _asked_from(entry)
    return asked is None or (start is not None and start >= asked)


def _day(stamp_ns: int) -> date:
    return datetime.fromtimestamp(stamp_ns // NANOSECONDS, UTC).date()
