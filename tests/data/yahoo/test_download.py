# SPDX-License-Identifier: Apache-2.0
"""The cache and its updates: resumed, revised, interrupted, and failing by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from yfinance.exceptions import YFRateLimitError

from mtquant.core.errors import DataError
from mtquant.data.actions import adjusted
from mtquant.data.bars import PRICE_COLUMNS
from mtquant.data.instruments import load_instruments
from mtquant.data.yahoo import cache as cache_module
from mtquant.data.yahoo.cache import Entry, manifest_path, read_entry
from mtquant.data.yahoo.download import Update, YahooDownloader, next_close, yahoo_bars
from mtquant.data.yahoo.frames import DROPPED_INCOMPLETE, WIDENED
from mtquant.data.yahoo.retry import Retry
from tests.support.builders import assert_same_bars
from tests.support.yahoo import STOCK, Exchange, ns, random_exchange, serve, weekdays

INSTRUMENTS = load_instruments(None)
DAYS = weekdays(date(2024, 2, 26), 60)
OTHER = STOCK.model_copy(update={"symbol": "OTHER", "yahoo": "OTHER"})


class Desk:
    """A downloader on a day of the exchange's choosing, with the exchanges it asks."""

    def __init__(self, folder: Path, exchanges: dict[str, Exchange], asked: Any) -> None:
        self.folder, self.exchanges, self.asked = folder, exchanges, asked
        self.waited: list[float] = []

    def on(self, day: date, instruments: Any = (STOCK,), **options: Any) -> list[Update]:
        """Updates in the evening of a day; `options` are the downloader's or `update_all`'s."""
        for exchange in self.exchanges.values():
            exchange.today = day
        span = {name: options.pop(name) for name in ("start", "end", "bar") if name in options}
        downloader = YahooDownloader(
            self.folder,
            retry=Retry(sleep=self.waited.append, jitter=lambda: 0.5),
            clock=lambda: ns(f"{day} 20:00"),
            **options,
        )
        return list(downloader.update_all(instruments, span.pop("bar", "1d"), **span))

    def entry(self) -> Entry:
        entry = read_entry(self.folder, STOCK, "1d")
        assert entry is not None
        return entry


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    exchanges = {
        "ACME": random_exchange(DAYS, splits={DAYS[40]: 4.0}, dividends={DAYS[10]: 0.6}),
        "OTHER": random_exchange(DAYS, 1),
    }
    with serve(exchanges, monkeypatch, tmp_path / "yfinance") as asked:
        (tmp_path / "yfinance").mkdir()
        yield Desk(tmp_path / "cache", exchanges, asked)


def assert_as_traded(entry: Entry, exchange: Exchange, first: int, last: int) -> None:
    """Bars are the exchange's true rows first to last."""
    for k, name in enumerate(PRICE_COLUMNS):
        true = exchange.prices[first : last + 1, k]
        np.testing.assert_allclose(getattr(entry.bars, name), true, rtol=1e-6)


def test_a_download_is_kept_and_described(desk: Desk) -> None:
    (update,) = desk.on(DAYS[30], start=DAYS[5])
    assert (update.outcome, update.error, update.revisions) == ("downloaded", None, ())
    entry = desk.entry()
    assert_as_traded(entry, desk.exchanges["ACME"], 5, 30)
    manifest = entry.manifest
    assert (manifest.symbol, manifest.ticker, manifest.bar) == ("ACME", "ACME", "1d")
    assert manifest.source.startswith("yfinance ")
    assert manifest.asked_from == str(DAYS[5])
    assert manifest.downloaded_at == "2024-04-09T00:00:00+00:00"  # 20:00 in New York
    assert (manifest.first, manifest.last) == ("2024-03-04 21:00:00Z", "2024-04-08 20:00:00Z")
    assert (manifest.rows, manifest.actions) == (26, 1)
    assert entry.bars.notes == ("Yahoo Finance ACME, 1d bars as traded",)
    assert sorted(path.suffix for path in (desk.folder / "1d").iterdir()) == [
        ".json",
        ".parquet",
        ".parquet",
    ]


def test_an_update_asks_for_what_is_new_and_some_days_before(desk: Desk) -> None:
    desk.on(DAYS[20])
    (update,) = desk.on(DAYS[30])
    assert (update.outcome, update.revisions, update.remarks) == ("updated", (), ())
    assert_as_traded(desk.entry(), desk.exchanges["ACME"], 0, 30)
    starts = [second for _, second in desk.asked]
    assert starts[0] < 0  # all there is
    # Fourteen days before the last cached day, a Monday, at midnight in New York.
    assert starts[1] * 10**9 == ns("2024-03-11 00:00")
    # The old files are gone.
    assert len(list((desk.folder / "1d").iterdir())) == 3


def test_nobody_is_asked_when_nothing_can_be_new(desk: Desk) -> None:
    desk.on(DAYS[20])
    asked = desk.exchanges["ACME"].requests
    for again in (desk.on(DAYS[20]), desk.on(DAYS[25], end=DAYS[20])):
        assert [update.outcome for update in again] == ["current"]
        assert again[0].gaps is not None
    assert desk.exchanges["ACME"].requests == asked
    (update,) = desk.on(DAYS[25], end=DAYS[22])
    assert update.outcome == "updated"


def test_an_earlier_start_asks_for_everything_again(desk: Desk) -> None:
    desk.on(DAYS[30], start=DAYS[20])
    (update,) = desk.on(DAYS[30], start=DAYS[10])
    assert (update.outcome, desk.entry().manifest.asked_from) == ("updated", str(DAYS[10]))
    assert_as_traded(desk.entry(), desk.exchanges["ACME"], 10, 30)
    # A history that begins later than asked is not asked for again and again.
    (update,) = desk.on(DAYS[30], start=date(1990, 1, 1))
    assert desk.on(DAYS[30], start=date(1990, 1, 1))[0].outcome == "current"


def test_a_split_rewrites_yahoos_history_and_not_ours(desk: Desk) -> None:
    """Row 40 is the first in new shares: Yahoo divides everything before it by four."""
    desk.on(DAYS[39])
    before = desk.entry()
    (update,) = desk.on(DAYS[45])
    assert update.revisions == ()
    assert update.remarks == (
        "split 4:1 since the last download: Yahoo divided its history, ours is as traded and stays",
    )
    after = desk.entry()
    assert_as_traded(after, desk.exchanges["ACME"], 0, 45)
    assert np.array_equal(after.bars.close[:40], before.bars.close)
    # What was computed on the eve is what is computed for the eve today.
    eve = int(before.bars.stamps[-1])
    assert_same_bars(
        adjusted(after.bars, after.actions, eve), adjusted(before.bars, before.actions, eve)
    )


@pytest.mark.parametrize("revised", ["keep", "replace", "refuse"])
def test_revised_bars(desk: Desk, revised: str) -> None:
    desk.on(DAYS[20])
    before = desk.entry()
    acme = desk.exchanges["ACME"]
    acme.prices[18, 3] *= 1.001
    acme.prices[18, 1] = acme.prices[18].max()
    old_error = acme.prices[2, 3]
    acme.prices[2, 3] *= 1.0005  # beyond the overlap of an update
    (update,) = desk.on(DAYS[25], revised=revised)
    entry = desk.entry()
    if revised == "refuse":
        assert update.outcome == "failed" and update.entry is not None
        assert "must be answered as it was (" in str(update.error)
        assert_same_bars(entry.bars, before.bars)
        return
    assert [(r.column, r.stamp) for r in update.revisions if r.column == "close"][-1] == (
        "close",
        ns(f"{DAYS[18]} 16:00"),
    )
    assert len(entry.bars) == 26
    if revised == "keep":
        assert np.array_equal(entry.bars.close[:21], before.bars.close)
        assert update.remarks == ("the cached figures are kept (revised: keep)",)
    else:
        assert_as_traded(entry, acme, 0, 25)
        assert entry.bars.close[2] != pytest.approx(old_error, rel=1e-5)


@pytest.mark.parametrize("revised", ["keep", "refuse"])
def test_a_split_that_yahoo_does_not_list_is_refused(desk: Desk, revised: str) -> None:
    """The prices are divided, the list of splits is not there yet."""
    desk.on(DAYS[39])
    before = desk.entry()
    acme = desk.exchanges["ACME"]
    acme.splits = {}
    acme.prices[:40] /= 4.0
    (update,) = desk.on(DAYS[45], revised=revised)
    assert update.outcome == "failed"
    assert "multiplied by 0.25; no split of that size is listed" in str(update.error)
    assert_same_bars(desk.entry().bars, before.bars)


def test_a_split_that_is_listed_before_prices_are_divided_is_refused(desk: Desk) -> None:
    """The morning of the ex-date: multiplied back, older prices are four times too high."""
    desk.on(DAYS[39])
    desk.exchanges["ACME"].prices[:40] *= 4.0
    (update,) = desk.on(DAYS[45])
    assert update.outcome == "failed"
    said = f"multiplied by 4; the split 4:1 of {DAYS[40]} is listed, but not all prices are divided"
    assert said in str(update.error)


def test_replacing_the_whole_history_accepts_another_unit(desk: Desk) -> None:
    desk.on(DAYS[39])
    acme = desk.exchanges["ACME"]
    acme.splits = {}
    acme.prices[:40] /= 4.0
    (update,) = desk.on(DAYS[45], revised="replace")
    assert update.outcome == "updated"
    assert_as_traded(desk.entry(), acme, 0, 45)


def test_what_failed_is_named_and_the_others_are_kept(desk: Desk) -> None:
    gone = STOCK.model_copy(update={"symbol": "GONE", "yahoo": "GONE"})
    updates = desk.on(DAYS[20], (gone, STOCK, OTHER))
    assert [(u.symbol, u.outcome) for u in updates] == [
        ("GONE", "failed"),
        ("ACME", "downloaded"),
        ("OTHER", "downloaded"),
    ]
    assert str(updates[0].error).startswith("GONE (GONE) must be answered by Yahoo (refused)")
    with pytest.raises(DataError, match=r"GONE \(GONE\) must be answered"):
        updates[0].kept()


def test_what_stops_two_symbols_stops_all(desk: Desk) -> None:
    third = STOCK.model_copy(update={"symbol": "THIRD", "yahoo": "THIRD"})
    desk.exchanges["THIRD"] = random_exchange(DAYS, 2)
    desk.on(DAYS[20], (OTHER,))
    for exchange in desk.exchanges.values():
        exchange.error, exchange.requests = YFRateLimitError(), 0
    updates = desk.on(DAYS[25], (STOCK, OTHER, third))
    assert [update.kind for update in updates] == ["rate limited", "rate limited", "failed"]
    assert [exchange.requests for exchange in desk.exchanges.values()] == [4, 1, 0]
    assert "THIRD (THIRD) must be answered by Yahoo (failed); found 'not asked: the two" in str(
        updates[2].error
    )
    assert desk.waited == [20.0, 40.0, 80.0]
    # What was there is there.
    assert updates[1].entry is not None and updates[1].entry.manifest.rows == 21


def test_an_interrupted_download_goes_on(desk: Desk) -> None:
    desk.exchanges["OTHER"].error = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        desk.on(DAYS[20], (STOCK, OTHER))
    desk.exchanges["OTHER"].error = None
    outcomes = [update.outcome for update in desk.on(DAYS[20], (STOCK, OTHER))]
    assert outcomes == ["current", "downloaded"]


def test_a_crash_while_writing_leaves_the_old_entry(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.on(DAYS[20])
    before = desk.entry()

    def crash(*arguments: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(cache_module, "write_atomically", crash)
        with pytest.raises(OSError, match="disk full"):
            desk.on(DAYS[25])
    assert_same_bars(desk.entry().bars, before.bars)
    assert desk.on(DAYS[25])[0].outcome == "updated"


def test_a_damaged_cache_is_named(desk: Desk) -> None:
    desk.on(DAYS[20])
    path = manifest_path(desk.folder, "ACME", "1d")
    manifest = json.loads(path.read_text())
    bars_file = path.parent / manifest["bars_file"]
    content = bars_file.read_bytes()
    bars_file.write_bytes(content[:-9] + b"x" + content[-8:])
    (update,) = desk.on(DAYS[25])
    assert update.outcome == "failed"
    assert f"{bars_file} must have the sha256" in str(update.error)
    assert f"Delete {path} to download it afresh." in str(update.error)
    path.write_text("{")
    with pytest.raises(DataError, match="must be a readable manifest"):
        desk.entry()
    path.write_text(json.dumps({**manifest, "bars_file": "../../secret.parquet"}))
    with pytest.raises(DataError, match="bars_file must match pattern"):
        desk.entry()


def test_an_entry_of_another_ticker_or_session_is_refused(desk: Desk) -> None:
    desk.on(DAYS[20])
    moved = STOCK.session.model_copy(update={"close": "17:00"})
    for change, name in (({"yahoo": "AC.ME"}, "ticker"), ({"session": moved}, "session")):
        with pytest.raises(DataError, match=rf"{name} must agree with the instruments file"):
            read_entry(desk.folder, STOCK.model_copy(update=change), "1d")


def test_repairs_are_counted_once(desk: Desk) -> None:
    """The widened day lies in the overlap of two downloads."""
    acme = desk.exchanges["ACME"]
    acme.prices[19, 1] = max(acme.prices[19, 0], acme.prices[19, 3]) * (1 - 1e-6)
    for day in (DAYS[20], DAYS[25]):
        (update,) = desk.on(day)
        assert update.repairs == {WIDENED: (str(DAYS[19]),)}
        assert desk.entry().bars.notes[1:] == (f"1 bars {WIDENED}",)


def test_hours_reach_back_two_years(desk: Desk) -> None:
    """20:00 on 2024-05-06 in New York is the 7th in UTC; 729 days before that."""
    hours = [f"{day} {hour:02d}:30" for day in DAYS for hour in range(9, 16)]
    desk.exchanges["ACME"] = random_exchange(hours, interval_seconds=3_600)
    (update,) = desk.on(DAYS[50], bar="1h", start=date(2010, 1, 1))
    assert update.outcome == "downloaded"
    assert len(update.kept().bars) == 51 * 7
    first = desk.asked[0][1]
    assert first * 10**9 == ns("2022-05-09 00:00")
    assert desk.on(DAYS[55], bar="1h", start=date(2010, 1, 1))[0].outcome == "updated"
    assert update.gaps is not None and update.gaps.short == ()


def hourly(days: list[date], **options: Any) -> Exchange:
    hours = [f"{day} {hour:02d}:30" for day in days for hour in range(9, 16)]
    return random_exchange(hours, interval_seconds=3_600, **options)


def test_a_cache_that_ends_before_yahoo_begins_leaves_no_hole(desk: Desk) -> None:
    """Yahoo forgets hours after 730 days: 790 weekdays are 1,106 days."""
    days = weekdays(date(2021, 3, 1), 800)
    desk.exchanges["ACME"] = hourly(days)
    assert desk.on(days[5], bar="1h")[0].outcome == "downloaded"
    for revised in ("keep", "refuse"):
        (update,) = desk.on(days[795], bar="1h", revised=revised)
        assert update.outcome == "failed" and update.entry is not None
        assert "must be answered from the last cached bar on (2021-03-08 21:30:00Z)" in str(
            update.error
        )
        assert "(revised: replace; copy it first to keep the older bars)" in str(update.error)
        assert len(update.entry.bars) == 42
    (update,) = desk.on(days[795], bar="1h", revised="replace")
    assert update.remarks == ("42 cached bars that end before Yahoo's begin are given up",)
    stamps = update.kept().bars.stamps
    assert np.diff(stamps).max() <= 67 * 3_600 * 10**9  # Friday to Monday, clocks back
    assert desk.on(days[799], bar="1h")[0].outcome == "updated"


def test_keeping_fills_in_what_was_missing(desk: Desk) -> None:
    """A bar that Yahoo had not complete, and a cached one that it has in two prices later."""
    acme = desk.exchanges["ACME"]
    close = acme.prices[18, 3]
    acme.prices[18, 3] = np.nan
    desk.on(DAYS[20])
    assert desk.entry().bars.notes[1:] == (f"1 bars {DROPPED_INCOMPLETE}",)
    acme.prices[18, 3], acme.prices[17] = close, np.nan
    (update,) = desk.on(DAYS[25])
    assert [str(revision)[11:] for revision in update.revisions] == [
        "20:00:00Z bar is gone",
        "20:00:00Z bar is new",
    ]
    assert update.remarks == (
        "1 bars that were missing in the cache are filled in",
        "the cached figures are kept (revised: keep)",
    )
    entry = desk.entry()
    assert len(entry.bars) == 26 and entry.bars.close[18] == pytest.approx(close)
    assert entry.bars.notes[1:] == ()  # neither is dropped
    # Yahoo's word for all it covers: the 18th day is gone, and says so.
    acme.prices[17, :3] = 100.0
    (update,) = desk.on(DAYS[25], revised="replace")
    assert len(desk.entry().bars) == 25
    assert desk.entry().bars.notes[1:] == (f"1 bars {DROPPED_INCOMPLETE}",)


def test_other_lengths_are_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"bar must be one of 1d, 1h.*found '2h'"):
        desk.on(DAYS[20], bar="2h")


def test_the_next_close_skips_the_weekend(desk: Desk) -> None:
    (update,) = desk.on(DAYS[4])  # Friday, 2024-03-01
    assert next_close(update.kept().bars, STOCK, "1d") == ns("2024-03-04 16:00")


def test_cached_bars_are_adjusted_and_downloaded_once(desk: Desk) -> None:
    desk.exchanges["ACME"].today = DAYS[45]
    downloader = YahooDownloader(desk.folder, clock=lambda: ns(f"{DAYS[45]} 20:00"))
    bars = yahoo_bars(desk.folder, STOCK, "1d", downloader)
    entry = desk.entry()
    assert_same_bars(bars, adjusted(entry.bars, entry.actions, int(entry.bars.stamps[-1])))
    assert bars.close[0] < entry.bars.close[0] / 4.0  # the split, and the dividend
    assert bars.notes[-1].startswith(
        "adjusted with the splits (1) and dividends (1) known by 2024-04-29"
    )
    desk.exchanges["ACME"].today = DAYS[50]
    asked = desk.exchanges["ACME"].requests
    assert_same_bars(yahoo_bars(desk.folder, STOCK, "1d", downloader), bars)
    assert desk.exchanges["ACME"].requests == asked
    absent = replace(downloader, retry=Retry(attempts=1))
    desk.exchanges["OTHER"].error = OSError("down")
    with pytest.raises(DataError, match=r"OTHER \(OTHER\) must be answered by Yahoo \(unreach"):
        yahoo_bars(desk.folder, OTHER, "1d", absent)
