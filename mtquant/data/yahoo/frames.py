# SPDX-License-Identifier: Apache-2.0
"""From an answer in yfinance's shape to bars and actions as traded.

What is repaired is counted by date in `Answer.repairs`; what cannot be repaired is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.lengths import length_seconds
from mtquant.data.actions import Actions, as_traded, check_actions, ex_day
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, check_bars
from mtquant.data.instruments import Instrument, Session
from mtquant.data.stamps import utc_nanoseconds
from mtquant.data.yahoo.transport import short

DAY_SECONDS = 86_400
EVENTS = {"dividends": "dividend", "stock splits": "split_ratio"}
# Some exchanges' quotes reach Yahoo half an hour late (`data_delay` in yfinance's history), and a
# bar that is kept too early is kept wrong.
DELAY_NS = 1_800 * NANOSECONDS
WIDEST = 0.01  # an open or close farther outside of high and low than this is a torn row
MOST_VERSIONS = 0.01  # of the rows; an answer with more bars in two versions is of no use
LIKE_A_SPLIT = 1.5  # smaller ratios cannot be told from a day's move

# Repairs that change what the bars say and are repeated by every report.
DROPPED_INCOMPLETE = "dropped: a price is missing"
DROPPED_NOT_POSITIVE = "dropped: a price at or below zero"
DROPPED_TORN = "dropped: open or close more than 1 % outside of high and low"
DROPPED_TWO_VERSIONS = "dropped: answered in two versions"
WIDENED = "high or low widened to hold open and close"
DROPPED = (DROPPED_INCOMPLETE, DROPPED_NOT_POSITIVE, DROPPED_TORN, DROPPED_TWO_VERSIONS)
NOTED = (*DROPPED, WIDENED)
# Repairs that leave no trace in what is kept.
DROPPED_EMPTY = "dropped: no prices at all"
DROPPED_LIVE = "dropped: the same bar twice, or a live quote beside it"
DROPPED_UNFINISHED = "dropped: not final yet"

Repairs = Mapping[str, tuple[str, ...]]
"""Kind of repair -> the bars it concerns, as texts of their dates or times."""


@dataclass(frozen=True)
class Answer:
    """What one answer of Yahoo holds.

    Attributes:
        bars: Closed bars as traded.
        actions: Splits and dividends of the same time, as traded.
        repairs: What was repaired.
        warnings: Facts that a user should look at.
    """

    bars: Bars
    actions: Actions
    repairs: Repairs = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def yahoo_session(instrument: Instrument) -> Session:
    """When a daily bar of Yahoo ends.

    Yahoo's day of a currency pair is London's, midnight to midnight, and that of a future New
    York's: so say the trading periods that its answers name (``currentTradingPeriod``: 00:00 to
    23:59, ``exchangeTimezoneName``). The highs, lows and closes are of that day, so its bars are
    known later than the instrument's own session suggests. Anything else ends with its session.
    """
    own = instrument.session
    for suffix, timezone in (("=X", "Europe/London"), ("=F", "America/New_York")):
        if instrument.yahoo.endswith(suffix):
            return Session(timezone=timezone, close="23:59", week_opens=own.week_opens)
    return own


def read_answer(
    frame: pd.DataFrame | None, instrument: Instrument, bar: str, now_ns: int
) -> Answer:
    """Bars and actions of an answer, checked.

    Args:
        frame: What `Transport.download` returned: columns flat, or in two levels with the ticker in
            either; dates or times with any zone.
        instrument: Whose bars they should be.
        bar: Bar length, such as ``"1d"``.
        now_ns: The present, UTC nanoseconds; bars that closed less than half an hour ago are not
            final yet.

    Raises:
        DataError: There are no rows, or none of this ticker; a column is missing; times cannot be
            understood; rows contradict each other; the currency is another; or what is left breaks
            a rule of `check_bars`.
    """
    name = f"{instrument.symbol} ({instrument.yahoo})"
    table = _one_ticker(frame, instrument.yahoo, name)
    _check_currency(frame, instrument, name)
    daily = length_seconds(bar, "bar") >= DAY_SECONDS
    session = yahoo_session(instrument)
    table.index = _dates(table.index, name, session) if daily else _times(table.index, name)
    repairs: dict[str, tuple[str, ...]] = {}
    table = table.sort_index(kind="stable")
    versions = _two_versions(table, name)
    _count(repairs, DROPPED_TWO_VERSIONS, versions, daily)
    table = _without_repeats(table, daily, length_seconds(bar, "bar"), versions, repairs)
    actions = _actions(table, instrument.symbol, session.timezone)
    table = _clean_rows(table[~table.index.isin(versions)], daily, repairs)
    bars = Bars.from_frame(
        table,
        symbol=instrument.symbol,
        quote=instrument.quote,
        stamped="session" if daily else "open",
        bar_seconds=length_seconds(bar, "bar"),
        session_timezone=session.timezone if daily else None,
        session_close=session.close if daily else None,
    )
    closed = bars.stamps + DELAY_NS <= now_ns
    _count(repairs, DROPPED_UNFINISHED, table.index[~closed], daily)
    bars = bars.rows(slice(0, int(closed.sum())))
    check_bars(bars)
    check_actions(actions)
    traded, actions = as_traded(bars, actions)
    check_bars(traded)
    warnings = (*_unapplied_splits(bars, actions), *_capital_gains(table))
    return Answer(traded, actions, MappingProxyType(repairs), warnings)


def _one_ticker(frame: pd.DataFrame | None, ticker: str, name: str) -> pd.DataFrame:
    """The ticker's own columns by lower-case name, float64, with a checked set of names."""
    if frame is None or frame.empty:
        remedy = "Check the ticker and the dates, or try again later."
        raise DataError(name, "must be answered with rows", "an empty answer", remedy)
    table = frame
    if isinstance(frame.columns, pd.MultiIndex):
        texts = [
            frame.columns.get_level_values(k).astype(str) for k in range(frame.columns.nlevels)
        ]
        levels = [k for k, level in enumerate(texts) if (level.str.upper() == ticker.upper()).any()]
        if not levels:
            shown = short(
                ", ".join(sorted({str(column) for column in frame.columns.to_flat_index()}))
            )
            raise DataError(name, "must be among the answered tickers", shown, "Try again later.")
        chosen = texts[levels[0]].str.upper() == ticker.upper()
        table = frame.loc[:, chosen].droplevel(levels[0], axis=1)
    names = [str(column).strip().lower() for column in table.columns]
    missing = [name_ for name_ in (*PRICE_COLUMNS, *EVENTS) if names.count(name_) != 1]
    if missing:
        raise DataError(
            name,
            f"must be answered with one column each of {', '.join(missing)}",
            short(", ".join(names)),
            "Without prices there are no bars, and without splits no prices as traded.",
        )
    keep = [k for k, column in enumerate(names) if column in (*PRICE_COLUMNS, *EVENTS)]
    keep += [k for k, column in enumerate(names) if column in ("volume", "capital gains")]
    table = table.iloc[:, keep].copy()
    table.columns = pd.Index([names[k] for k in keep])
    try:
        return table.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            name, "must be answered with numbers", short(str(error)), "Try again later."
        ) from error


def _check_currency(frame: pd.DataFrame | None, instrument: Instrument, name: str) -> None:
    """Refuses prices in another currency; pence (GBp) are not pounds."""
    currency = None if frame is None else frame.attrs.get("currency")
    if currency is not None and currency != instrument.quote:
        remedy = "Correct quote or yahoo in the instruments file."
        rule = f"must be priced in {instrument.quote}"
        raise DataError(name, rule, short(str(currency)), remedy)


def _dates(index: pd.Index, name: str, session: Session) -> pd.DatetimeIndex:
    """Calendar dates of daily rows.

    `yfinance.download` gives naive dates, `Ticker.history` midnights of the exchange; the same
    moments may come on another clock (UTC). Midnights of a clock that are none of the exchange's
    are dates with a wrong label. The last row may be a live quote with a time of day.
    """
    times = _checked_times(index, name)
    local = times.tz_localize(None)
    if times.tz is not None:
        there = times.tz_convert(session.timezone).tz_localize(None)
        local = there if _midnights(there[:-1]) else local
    if not _midnights(local[:-1]):
        odd = local[:-1][local[:-1] != local[:-1].normalize()]
        remedy = f"Dates have to be midnights in {session.timezone}, or have no zone."
        raise DataError(name, "must have dates for daily bars", str(odd[0]), remedy)
    return local.normalize()


def _times(index: pd.Index, name: str) -> pd.DatetimeIndex:
    """UTC starts of intraday rows."""
    times = _checked_times(index, name)
    if times.tz is None:
        remedy = "yfinance gives them one unless ignore_tz is on."
        raise DataError(name, "must have times with a zone", str(times[0]), remedy)
    return times.tz_convert("UTC")


def _checked_times(index: pd.Index, name: str) -> pd.DatetimeIndex:
    if not isinstance(index, pd.DatetimeIndex) or index.hasnans:
        remedy = "Try again later."
        raise DataError(name, "must be answered with times", str(index.dtype), remedy)
    return index


def _midnights(times: pd.DatetimeIndex) -> bool:
    return bool((times == times.normalize()).all())


def _two_versions(table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    """Bars that an answer holds twice with different prices, the newest apart: neither version can
    be believed. Rows are oldest first.

    Raises:
        DataError: They are too many for the rest to be believed.
    """
    index = pd.DatetimeIndex(table.index)
    older = index.duplicated(keep=False) & (index != index[-1])
    prices = table.loc[older, list(PRICE_COLUMNS)].groupby(level=0)
    torn = pd.DatetimeIndex(prices.nunique(dropna=False).gt(1).any(axis=1).loc[lambda x: x].index)
    if len(torn) > max(1.0, MOST_VERSIONS * len(index)):
        rule = f"must not be answered with two versions of {len(torn)} bars"
        raise DataError(name, rule, str(torn[0]), "Try again later.")
    return torn


def _without_repeats(
    table: pd.DataFrame,
    daily: bool,
    bar_seconds: int,
    versions: pd.DatetimeIndex,
    repairs: dict[str, tuple[str, ...]],
) -> pd.DataFrame:
    """One row per bar, oldest first.

    Of two rows of the newest day the last counts: its figures are the fresher ones (so too
    yfinance, `utils.fix_Yahoo_returning_live_separate`). An intraday quote beside the last bar
    belongs to no bar of its own. `versions` are counted already.
    """
    index = table.index
    dropped = np.asarray(index.duplicated(keep="last"))
    if not daily and len(index) > 1:
        beside = pd.Timedelta(0) < index[-1] - index[-2] < pd.Timedelta(seconds=bar_seconds)
        dropped[-1] |= beside
    if dropped.any():
        # The event of a day may stand in either of its rows.
        for column in EVENTS:
            table[column] = table[column].groupby(level=0).transform("max")
        _count(repairs, DROPPED_LIVE, index[dropped & ~index.isin(versions)], daily)
    return table[~dropped]


def _actions(table: pd.DataFrame, symbol: str, timezone: str) -> Actions:
    """Splits and dividends in today's shares, from all rows, with or without prices."""
    events = table[list(EVENTS)].rename(columns=EVENTS).fillna(0.0)
    # Yahoo writes 0 where nothing was split.
    events["split_ratio"] = events["split_ratio"].replace(0.0, 1.0)
    events = events[(events["split_ratio"] != 1.0) | (events["dividend"] != 0.0)]
    index = pd.DatetimeIndex(events.index)
    days = index.tz_convert(timezone).tz_localize(None) if index.tz is not None else index
    # An intraday answer repeats nothing: yfinance puts an event into the day's first row.
    midnights = days.normalize().tz_localize(
        timezone, ambiguous=np.ones(len(days), bool), nonexistent="shift_forward"
    )
    return Actions(
        symbol=symbol,
        ex_stamps=utc_nanoseconds(midnights, symbol),
        split_ratio=events["split_ratio"].to_numpy(),
        dividend=events["dividend"].to_numpy(),
    )


def _clean_rows(
    table: pd.DataFrame, daily: bool, repairs: dict[str, tuple[str, ...]]
) -> pd.DataFrame:
    """Rows that are bars: four positive prices, high and low around open and close."""
    table = table.copy()
    if "volume" in table:
        table["volume"] = table["volume"].replace(np.inf, 0.0).fillna(0.0).clip(lower=0.0)
    prices = table[list(PRICE_COLUMNS)].replace([np.inf, -np.inf], np.nan)
    missing = prices.isna()
    body = prices[["open", "close"]]
    top, bottom = body.max(axis=1), body.min(axis=1)
    torn = (top > prices["high"] * (1 + WIDEST)) | (bottom < prices["low"] * (1 - WIDEST))
    torn |= prices["low"] > prices["high"] * (1 + WIDEST)
    kept = np.ones(len(table), bool)
    for kind, found in (
        (DROPPED_EMPTY, missing.all(axis=1)),
        (DROPPED_INCOMPLETE, missing.any(axis=1)),
        (DROPPED_NOT_POSITIVE, (prices <= 0.0).any(axis=1)),
        (DROPPED_TORN, torn),
    ):
        fresh = found.to_numpy() & kept
        _count(repairs, kind, table.index[fresh], daily)
        kept &= ~fresh
    table, top, bottom = table[kept].copy(), top[kept], bottom[kept]
    high = np.maximum(table[["high", "low"]].max(axis=1), top)
    low = np.minimum(table[["high", "low"]].min(axis=1), bottom)
    widened = ((high != table["high"]) | (low != table["low"])).to_numpy()
    _count(repairs, WIDENED, table.index[widened], daily)
    table["high"], table["low"] = high, low
    return table


def _count(repairs: dict[str, tuple[str, ...]], kind: str, rows: pd.Index, daily: bool) -> None:
    """Adds rows to a kind of repair, by date or by UTC start."""
    if len(rows):
        texts = pd.DatetimeIndex(rows).strftime("%Y-%m-%d" if daily else "%Y-%m-%d %H:%MZ")
        repairs[kind] = (*repairs.get(kind, ()), *texts)


def _unapplied_splits(bars: Bars, actions: Actions) -> tuple[str, ...]:
    """Splits over which Yahoo's prices jump as if nobody had divided the older ones."""
    found = []
    rows = np.searchsorted(bars.stamps, actions.ex_stamps, side="right")
    for row, stamp, ratio in zip(rows, actions.ex_stamps, actions.split_ratio):
        if not 0 < row < len(bars) or max(ratio, 1 / ratio) < LIKE_A_SPLIT:
            continue
        jump = float(np.log(bars.close[row] / bars.close[row - 1]))
        if abs(jump + np.log(ratio)) < abs(jump):
            found.append(
                f"prices before the split {ratio:g}:1 of {ex_day(stamp)} look as if Yahoo had not "
                "divided them yet; download again some days later"
            )
    return tuple(found)


def _capital_gains(table: pd.DataFrame) -> tuple[str, ...]:
    """Yahoo lists a fund's capital gains apart, and some of them in its dividends as well."""
    gains: NDArray[np.float64] = table.get("capital gains", pd.Series(dtype=float)).to_numpy()
    count = int(np.nansum(gains > 0.0))
    return (f"{count} capital gains distributions are not counted",) if count else ()


def merged_repairs(
    kept: Repairs,
    fresh: Repairs,
    settled: Callable[[str], bool],
    present: Collection[str],
) -> Repairs:
    """The repairs of bars put together from a cache and an answer, those that `NOTED` names.

    Args:
        kept: What was repaired in the cached bars.
        fresh: What was repaired in the answer.
        settled: Whether the cached bars have the word on a row; the answer has it elsewhere.
        present: All rows there are now, which are therefore not dropped.
    """
    merged = {}
    for kind in NOTED:
        rows = {row for row in kept.get(kind, ()) if settled(row)}
        rows |= {row for row in fresh.get(kind, ()) if not settled(row)}
        if kind in DROPPED:
            rows.difference_update(present)
        if rows:
            merged[kind] = tuple(sorted(rows))
    return merged


def row_texts(bars: Bars, timezone: str) -> list[str]:
    """The bars as repairs name them: local dates of daily ones, UTC starts of others."""
    closes = pd.DatetimeIndex(bars.stamps.astype("datetime64[ns]")).tz_localize("UTC")
    if bars.bar_seconds >= DAY_SECONDS:
        return list(closes.tz_convert(timezone).strftime("%Y-%m-%d"))
    return list((closes - pd.Timedelta(seconds=bars.bar_seconds)).strftime("%Y-%m-%d %H:%MZ"))


def with_notes(bars: Bars, ticker: str, bar: str, repairs: Repairs) -> Bars:
    """The bars with the notes that every report repeats."""
    notes = [f"Yahoo Finance {ticker}, {bar} bars as traded"]
    notes += [f"{len(rows)} bars {kind}" for kind, rows in repairs.items() if kind in NOTED]
    return replace(bars, notes=tuple(notes))
