# SPDX-License-Identifier: Apache-2.0
"""Answers in the shapes that yfinance 1.7 returns, made by yfinance itself from chart answers."""

from __future__ import annotations

import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yfinance
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import DataError
from mtquant.data.bars import PRICE_COLUMNS, check_bars
from mtquant.data.instruments import load_instruments
from mtquant.data.yahoo import frames
from mtquant.data.yahoo.frames import read_answer, yahoo_session
from mtquant.data.yahoo.transport import YfinanceTransport
from tests.support.yahoo import STOCK, Exchange, ns, random_exchange, serve, weekdays

INSTRUMENTS = load_instruments(None)
# Summer time begins in New York on 2024-03-10 and in London on 2024-03-31.
DAYS = weekdays(date(2024, 2, 26), 40)
LATER = ns("2025-01-01 00:00")


def answered(
    exchanges: dict[str, Exchange],
    monkeypatch: Any,
    folder: Path,
    ticker: str = "ACME",
    start: date | None = None,
    interval: str = "1d",
) -> pd.DataFrame:
    with serve(exchanges, monkeypatch, folder):
        return YfinanceTransport().download(ticker, start, interval)


def together(exchanges: dict[str, Exchange], monkeypatch: Any, folder: Path, **options: Any) -> Any:
    """What `yfinance.download` returns: always two levels of columns."""
    with serve(exchanges, monkeypatch, folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # yfinance's own, under pandas 3.1
        return yfinance.download(
            list(exchanges),
            start=DAYS[0],
            auto_adjust=False,
            actions=True,
            progress=False,
            threads=False,
            **options,
        )


def test_prices_are_those_that_were_traded(monkeypatch: Any, tmp_path: Path) -> None:
    """Yahoo divides by later splits; dividends too (4:1 after the one, before the other)."""
    splits, dividends = {DAYS[20]: 4.0, DAYS[35]: 0.5}, {DAYS[10]: 0.6, DAYS[30]: 0.2}
    acme = random_exchange(DAYS, splits=splits, dividends=dividends)
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    assert frame["Close"].iloc[0] == pytest.approx(acme.prices[0, 3] / 2.0, rel=1e-7)
    answer = read_answer(frame, STOCK, "1d", LATER)
    bars, actions = answer.bars, answer.actions
    # Yahoo's 32-bit floats are exact to 2**-24, which is 6e-8.
    for k, name in enumerate(PRICE_COLUMNS):
        np.testing.assert_allclose(getattr(bars, name), acme.prices[:, k], rtol=1e-7)
    np.testing.assert_allclose(bars.volume, acme.volume, rtol=1e-12)
    assert [int(s) for s in actions.ex_stamps] == [
        ns(f"{day} 00:00") for day in sorted({*splits, *dividends})
    ]
    assert list(actions.split_ratio) == [1.0, 4.0, 1.0, 0.5]
    np.testing.assert_allclose(actions.dividend, [0.6, 0.0, 0.2, 0.0], rtol=1e-12)
    assert dict(answer.repairs) == {} and answer.warnings == ()


def test_days_become_the_sessions_close(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS)
    bars = read_answer(answered({"ACME": acme}, monkeypatch, tmp_path), STOCK, "1d", LATER).bars
    assert [int(s) for s in bars.stamps] == [ns(f"{day} 16:00") for day in DAYS]
    assert (bars.symbol, bars.quote, bars.bar_seconds) == ("ACME", "USD", 86_400)


def test_the_days_of_currencies_and_futures_end_later() -> None:
    """At 23:59 in London and New York: the ends of the trading periods that Yahoo names.

    EUR=X on 2021-07-30: start 1627599600, end 1627685940, gmtoffset 3600, Europe/London
    (atreadw1492/yahoo_fin, issue 65).
    """
    end = pd.Timestamp(1627685940, unit="s", tz="UTC").tz_convert("Europe/London")
    assert str(end) == "2021-07-30 23:59:00+01:00"
    sessions = {name: yahoo_session(INSTRUMENTS[name]) for name in INSTRUMENTS}
    closes = {name: f"{s.close} {s.timezone}" for name, s in sessions.items()}
    assert closes["EURUSD"] == closes["USDJPY"] == "23:59 Europe/London"
    assert closes["WTIUSD"] == closes["XAUUSD"] == "23:59 America/New_York"
    assert closes["SPX500"] == closes["US30"] == "16:00 America/New_York"


def shape_utc(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.tz_convert("UTC")


def shape_naive(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.tz_localize(None)


def shape_relabelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Dates that somebody labelled with the wrong zone: the date is the one written down."""
    return frame.tz_localize(None).tz_localize("Asia/Tokyo")


@pytest.mark.parametrize("shape", [shape_utc, shape_naive, shape_relabelled])
@pytest.mark.parametrize("symbol", ["ACME", "EURUSD"])
def test_the_date_survives_any_zone(
    shape: Any, symbol: str, monkeypatch: Any, tmp_path: Path
) -> None:
    instrument = STOCK if symbol == "ACME" else INSTRUMENTS[symbol]
    zone = yahoo_session(instrument).timezone
    opens = "09:30" if symbol == "ACME" else "00:00"
    exchange = random_exchange(DAYS, timezone=zone, opens=opens)
    exchanges = {instrument.yahoo: exchange}
    frame = answered(exchanges, monkeypatch, tmp_path, instrument.yahoo)
    one, other = (read_answer(f, instrument, "1d", LATER) for f in (frame, shape(frame)))
    assert np.array_equal(one.bars.stamps, other.bars.stamps)
    assert str(one.bars.to_frame().tz_convert(zone).index[0])[:10] == str(DAYS[0])


def test_the_first_night_of_summer_time_keeps_its_date(monkeypatch: Any, tmp_path: Path) -> None:
    """London's midnights are those of UTC until 2024-03-30; that of Monday is 23:00 on Sunday."""
    days = [day for day in DAYS if day <= date(2024, 4, 1)]
    exchange = random_exchange(days, timezone="Europe/London", opens="00:00")
    frame = answered({"EURUSD=X": exchange}, monkeypatch, tmp_path, "EURUSD=X")
    bars = read_answer(frame.tz_convert("UTC"), INSTRUMENTS["EURUSD"], "1d", LATER).bars
    assert bars.stamps[-1] == ns("2024-04-01 23:59", "Europe/London")


def test_times_of_day_are_no_dates(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path)
    frame.index = frame.index + pd.Timedelta(hours=3)
    with pytest.raises(DataError, match=r"ACME \(ACME\) must have dates .*found '2024-02-26 03:00"):
        read_answer(frame, STOCK, "1d", LATER)


@pytest.mark.parametrize("group_by", ["column", "ticker"])
def test_two_levels_of_columns_in_either_order(
    group_by: str, monkeypatch: Any, tmp_path: Path
) -> None:
    """Of two tickers, the days of the other one are rows of NaN here."""
    acme = random_exchange(DAYS[::2], splits={DAYS[20]: 2.0})
    other = random_exchange(DAYS, 1, timezone="Europe/London", opens="00:00")
    frame = together({"ACME": acme, "EURUSD=X": other}, monkeypatch, tmp_path, group_by=group_by)
    assert frame.columns.nlevels == 2
    assert frame.columns.names == (
        ["Price", "Ticker"] if group_by == "column" else ["Ticker", "Price"]
    )
    answer = read_answer(frame, STOCK, "1d", LATER)
    np.testing.assert_allclose(answer.bars.close, acme.prices[:, 3], rtol=1e-7)
    empty = answer.repairs[frames.DROPPED_EMPTY]
    assert empty == tuple(str(day) for day in DAYS[1::2])
    assert read_answer(frame, INSTRUMENTS["EURUSD"], "1d", LATER).bars.close.shape == (40,)


def test_one_ticker_has_two_levels_too(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS)
    frame = together({"ACME": acme}, monkeypatch, tmp_path)
    assert frame.columns.nlevels == 2
    bars = read_answer(frame, STOCK, "1d", LATER).bars
    np.testing.assert_allclose(bars.close, acme.prices[:, 3], rtol=1e-7)
    flat = together({"ACME": acme}, monkeypatch, tmp_path, multi_level_index=False)
    assert np.array_equal(read_answer(flat, STOCK, "1d", LATER).bars.close, bars.close)


def test_another_tickers_prices_are_refused(monkeypatch: Any, tmp_path: Path) -> None:
    frame = together({"OTHER": random_exchange(DAYS)}, monkeypatch, tmp_path)
    with pytest.raises(DataError, match=r"ACME \(ACME\) must be among the answered .*OTHER"):
        read_answer(frame, STOCK, "1d", LATER)


def test_empty_answers_are_refused(monkeypatch: Any, tmp_path: Path) -> None:
    """`yfinance.utils.empty_df`, what `download` returns for nothing, and None."""
    nothing = together(
        {"ACME": random_exchange(DAYS, error=OSError("down"))}, monkeypatch, tmp_path
    )
    for frame in (None, yfinance.utils.empty_df(), nothing):
        with pytest.raises(DataError, match="must be answered with rows; found 'an empty answer'"):
            read_answer(frame, STOCK, "1d", LATER)


@pytest.mark.parametrize("column", ["Close", "Stock Splits", "Dividends", "High"])
def test_a_missing_column_is_named(column: str, monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path)
    with pytest.raises(DataError, match=f"one column each of {column.lower()}; found 'open"):
        read_answer(frame.drop(columns=column), STOCK, "1d", LATER)


def test_texts_for_numbers_are_refused_in_a_few_words(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path).astype(object)
    frame.iloc[3, 0] = "<html>\x1b[31m" + "x" * 5_000
    with pytest.raises(DataError, match="must be answered with numbers") as refused:
        read_answer(frame, STOCK, "1d", LATER)
    assert len(str(refused.value)) < 400 and "\x1b" not in str(refused.value)


def test_without_volume_it_counts_as_zero(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path)
    bars = read_answer(frame.drop(columns="Volume"), STOCK, "1d", LATER).bars
    assert not bars.volume.any()


def test_dirty_rows(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS)
    open_, high, low, close = (acme.prices[:, k] for k in range(4))
    acme.prices[3] = np.nan
    close[5] = np.nan
    low[7] = close[7] = -37.63  # WTI's settlement of 2020-04-20
    open_[9] = high[9] * 1.02
    high[11] = max(open_[11], close[11]) * (1 - 1e-6)
    acme.volume[13] = np.nan
    answer = read_answer(answered({"ACME": acme}, monkeypatch, tmp_path), STOCK, "1d", LATER)
    # yfinance drops rows without anything by itself (keepna=False), unless volume is there.
    assert dict(answer.repairs) == {
        frames.DROPPED_EMPTY: (str(DAYS[3]),),
        frames.DROPPED_INCOMPLETE: (str(DAYS[5]),),
        frames.DROPPED_NOT_POSITIVE: (str(DAYS[7]),),
        frames.DROPPED_TORN: (str(DAYS[9]),),
        frames.WIDENED: (str(DAYS[11]),),
    }
    assert len(answer.bars) == 36
    kept = [k for k in range(40) if k not in (3, 5, 7, 9)]
    np.testing.assert_allclose(answer.bars.close, close[kept], rtol=1e-7)
    row = kept.index(11)
    assert answer.bars.high[row] == max(answer.bars.open[row], answer.bars.close[row])
    assert answer.bars.volume[kept.index(13)] == 0.0


def test_the_live_day_twice(monkeypatch: Any, tmp_path: Path) -> None:
    """Yahoo appends a live quote of the same day.

    yfinance puts the two together if it sees them; where they get through, the last counts.
    """
    last = DAYS[-1]
    acme = random_exchange(DAYS, live=(f"{last} 15:59:58", 77.0, 5.0))
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    assert len(frame) == 40
    twice = pd.concat((frame.iloc[:-1], frame.iloc[[-2, -1]].set_axis([frame.index[-1]] * 2)))
    twice.iloc[-2, twice.columns.get_loc("Dividends")] = 0.25
    answer = read_answer(twice, STOCK, "1d", LATER)
    assert answer.bars.close[-1] == 77.0 and len(answer.bars) == 40
    assert answer.repairs == {frames.DROPPED_LIVE: (str(last),)}
    assert list(answer.actions.dividend) == [0.25]
    # The quote may carry its time of day.
    timed = frame.set_axis([*frame.index[:-1], frame.index[-1] + pd.Timedelta("15:59:58")])
    assert read_answer(timed, STOCK, "1d", LATER).bars.stamps[-1] == ns(f"{last} 16:00")


def test_an_older_bar_in_two_versions_is_dropped(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS, dividends={DAYS[4]: 0.25})
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    equal = pd.concat((frame, frame.iloc[[4]]))
    answer = read_answer(equal, STOCK, "1d", LATER)
    assert len(answer.bars) == 40
    assert answer.repairs == {frames.DROPPED_LIVE: (str(DAYS[4]),)}
    equal.iloc[-1, 0] += 0.5
    answer = read_answer(equal, STOCK, "1d", LATER)
    assert answer.repairs == {frames.DROPPED_TWO_VERSIONS: (str(DAYS[4]),)}
    assert ns(f"{DAYS[4]} 16:00") not in answer.bars.stamps and len(answer.bars) == 39
    assert list(answer.actions.dividend) == [0.25]  # its dividend is no price


def test_an_answer_full_of_two_versions_is_refused(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path)
    torn = pd.concat((frame, frame.iloc[[4, 9]] + 0.5))
    with pytest.raises(DataError, match=f"two versions of 2 bars; found '{DAYS[4]}"):
        read_answer(torn, STOCK, "1d", LATER)


def test_a_day_counts_half_an_hour_after_its_close(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path)
    early = read_answer(frame, STOCK, "1d", ns(f"{DAYS[-1]} 16:29"))
    assert early.repairs == {frames.DROPPED_UNFINISHED: (str(DAYS[-1]),)}
    assert early.bars.stamps[-1] == ns(f"{DAYS[-2]} 16:00")
    final = read_answer(frame, STOCK, "1d", ns(f"{DAYS[-1]} 16:30"))
    assert len(final.bars) == 40 and final.repairs == {}


HOURS = [f"{day} {hour:02d}:30" for day in DAYS for hour in range(9, 16)]


def test_hours_are_stamped_with_their_end(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(
        HOURS,
        interval_seconds=3_600,
        splits={DAYS[20]: 4.0},
        dividends={DAYS[30]: 0.2},
        live=(f"{DAYS[-1]} 15:45:17", 25.0, 9.0),
    )
    frame = answered({"ACME": acme}, monkeypatch, tmp_path, "ACME", DAYS[0], "60m")
    answer = read_answer(frame, STOCK, "1h", ns(f"{DAYS[-1]} 15:46"))
    # 14:30 to 15:30 is final at 16:00 only; what runs at 15:46 is a mixture of bar and quote.
    assert answer.bars.stamps[-1] == ns(f"{DAYS[-1]} 14:30")
    assert answer.repairs == {
        frames.DROPPED_UNFINISHED: (f"{DAYS[-1]} 18:30Z", f"{DAYS[-1]} 19:30Z")
    }
    np.testing.assert_allclose(answer.bars.close, acme.prices[:-2, 3], rtol=1e-7)
    assert [int(s) for s in answer.actions.ex_stamps] == [
        ns(f"{DAYS[20]} 00:00"),
        ns(f"{DAYS[30]} 00:00"),
    ]
    assert list(answer.actions.split_ratio) == [4.0, 1.0]


def test_a_quote_beside_the_last_hour_is_no_bar(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(HOURS, interval_seconds=3_600)
    frame = answered({"ACME": acme}, monkeypatch, tmp_path, "ACME", DAYS[0], "60m")
    quote = frame.iloc[[-1]].set_axis([frame.index[-1] + pd.Timedelta(minutes=30)])
    answer = read_answer(pd.concat((frame, quote)), STOCK, "1h", LATER)
    assert len(answer.bars) == len(HOURS)
    assert len(answer.repairs[frames.DROPPED_LIVE]) == 1


def test_hours_in_any_zone_but_none(monkeypatch: Any, tmp_path: Path) -> None:
    """`yfinance.download` converts to the commonest zone of its tickers."""
    acme = random_exchange(HOURS, interval_seconds=3_600)
    frame = answered({"ACME": acme}, monkeypatch, tmp_path, "ACME", DAYS[0], "60m")
    one = read_answer(frame, STOCK, "1h", LATER).bars
    other = read_answer(frame.tz_convert("Asia/Tokyo"), STOCK, "1h", LATER).bars
    assert np.array_equal(one.stamps, other.stamps)
    with pytest.raises(DataError, match="must have times with a zone"):
        read_answer(frame.tz_localize(None), STOCK, "1h", LATER)


def test_pence_are_not_pounds(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS, currency="GBp")
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    with pytest.raises(DataError, match="must be priced in USD; found 'GBp'"):
        read_answer(frame, STOCK, "1d", LATER)


def test_a_split_that_yahoo_lists_before_it_divides(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS, splits={DAYS[20]: 4.0})
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    assert read_answer(frame, STOCK, "1d", LATER).warnings == ()
    frame.iloc[:20, frame.columns.get_indexer(["Open", "High", "Low", "Close"])] *= 4.0
    (warning,) = read_answer(frame, STOCK, "1d", LATER).warnings
    assert warning.startswith(f"prices before the split 4:1 of {DAYS[20]} look as if Yahoo had not")


def test_a_funds_capital_gains_are_pointed_out(monkeypatch: Any, tmp_path: Path) -> None:
    acme = random_exchange(DAYS, kind="ETF")
    frame = answered({"ACME": acme}, monkeypatch, tmp_path)
    assert read_answer(frame, STOCK, "1d", LATER).warnings == ()
    frame.iloc[4, frame.columns.get_loc("Capital Gains")] = 1.5
    answer = read_answer(frame, STOCK, "1d", LATER)
    assert answer.warnings == ("1 capital gains distributions are not counted",)


def test_one_bar_is_no_history(monkeypatch: Any, tmp_path: Path) -> None:
    frame = answered({"ACME": replace(random_exchange(DAYS), today=DAYS[0])}, monkeypatch, tmp_path)
    with pytest.raises(DataError, match="must have at least 2 rows"):
        read_answer(frame, STOCK, "1d", LATER)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """An answer without faults, for tests that break it many times."""
    acme = random_exchange(DAYS, splits={DAYS[20]: 4.0}, dividends={DAYS[30]: 0.2})
    with pytest.MonkeyPatch.context() as patch:
        return answered({"ACME": acme}, patch, tmp_path_factory.mktemp("yfinance"))


@settings(max_examples=40)
@given(st.data())
def test_any_damage_ends_in_clean_bars_or_a_named_error(
    clean: pd.DataFrame, data: st.DataObject
) -> None:
    """Bars pass `check_bars`, and each row that is not there any more was counted."""
    frame = clean.astype(float)
    values = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-9, 1e9, 1e300)
    for _ in range(data.draw(st.integers(0, 4))):
        row, column = data.draw(st.integers(0, 39)), data.draw(st.integers(0, 5))
        frame.iloc[row, column] = data.draw(st.sampled_from(values))
    order = data.draw(st.permutations(range(40)))
    kept = order[: data.draw(st.integers(0, 40))] + data.draw(
        st.lists(st.integers(0, 39), max_size=3)
    )
    frame = frame.iloc[kept]
    columns = data.draw(st.permutations(list(frame.columns)))
    frame = frame[columns[: data.draw(st.sampled_from((8, 8, 8, 7)))]]
    if data.draw(st.booleans()):
        frame = frame.tz_convert("UTC")
    try:
        answer = read_answer(frame, STOCK, "1d", LATER)
    except DataError:
        return
    check_bars(answer.bars)
    dropped = sum(len(rows) for kind, rows in answer.repairs.items() if kind != frames.WIDENED)
    assert len(answer.bars) + dropped == len(frame)
