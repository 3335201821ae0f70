# SPDX-License-Identifier: Apache-2.0
"""From the config's data section to bars: every source, file names, what stamps mean, errors."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtquant.core.config import DataConfig, load_config
from mtquant.core.errors import DataError, RulesError
from mtquant.data.bundled import BUNDLED_SESSION, load_bundled
from mtquant.data.files import file_session, write_parquet
from mtquant.data.instruments import load_instruments
from mtquant.data.resample import resample
from mtquant.data.sources import load_bars, session_of, split_bars
from mtquant.data.yahoo.frames import yahoo_session
from tests.support.builders import assert_same_bars, bars_from_closes, make_bars, replaced
from tests.support.yahoo import random_exchange, serve, weekdays

INSTRUMENTS = load_instruments(None)
HOUR = 3_600
YAHOO_GOLD = yahoo_session(INSTRUMENTS["XAUUSD"])


def data(*overrides: str) -> DataConfig:
    return load_config(None, [f"data.{override}" for override in overrides]).data


def test_the_bundled_series_in_the_configs_order() -> None:
    bars = load_bars(data("instruments=[WTIUSD, SPX500]"), INSTRUMENTS)
    assert list(bars) == ["WTIUSD", "SPX500"]
    for symbol, series in bars.items():
        assert_same_bars(series, load_bundled(symbol))


def test_only_bundled_series_are_bundled() -> None:
    with pytest.raises(DataError, match=r"data.instruments: EURUSD .*Bundled: SPX500, NAS100"):
        load_bars(data("instruments=[EURUSD]"), INSTRUMENTS)


def test_parquet_files_of_our_own(tmp_path: Path) -> None:
    walks = {s: make_bars(s, 50, k, HOUR) for k, s in enumerate(("EURUSD", "GBPUSD"))}
    for symbol, walk in walks.items():
        write_parquet(walk, tmp_path / f"{symbol}.parquet")
    config = data(
        "source=parquet",
        f"folder={tmp_path}",
        "instruments=[GBPUSD, EURUSD]",
        "stamped=close",
        "bar=1h",
    )
    bars = load_bars(config, INSTRUMENTS)
    assert list(bars) == ["GBPUSD", "EURUSD"]
    for symbol, walk in walks.items():
        assert_same_bars(bars[symbol], walk)


@pytest.mark.parametrize("stamped", ["session", "open", "close"])
def test_files_of_our_own_know_what_their_stamps_mean(tmp_path: Path, stamped: str) -> None:
    bars = make_bars("EURUSD", 50)
    write_parquet(bars, tmp_path / "EURUSD.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[EURUSD]", "bar=1h"]
    read = load_bars(data(*settings, f"stamped={stamped}"), INSTRUMENTS)
    assert_same_bars(read["EURUSD"], bars)


def test_a_file_of_our_own_may_stand_in_for_another_instrument(tmp_path: Path) -> None:
    brent = make_bars("BRENTUSD", 50, start_price=70.0, notes=("settlements",))
    write_parquet(brent, tmp_path / "BRENTUSD.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[WTIUSD]", "bar=1h"]
    read = load_bars(data(*settings, "files.WTIUSD=BRENTUSD.parquet"), INSTRUMENTS)["WTIUSD"]
    notes = ("settlements", "bars read from BRENTUSD.parquet")
    assert_same_bars(read, replaced(brent, symbol="WTIUSD", notes=notes))
    (tmp_path / "BRENTUSD.parquet").rename(tmp_path / "WTIUSD.parquet")
    with pytest.raises(DataError, match=r"WTIUSD\.parquet: symbol must agree.*found 'WTIUSD'"):
        load_bars(data(*settings), INSTRUMENTS)


@pytest.mark.parametrize(
    ("quote", "bar", "message"),
    [
        # The bars are of one hour and EURUSD pays in dollars.
        ("USD", "2h", r"data\.bar in seconds must agree .*\(3600\); found 7200"),
        ("CHF", "1h", r"quote of EURUSD must agree .*\('CHF'\); found 'USD'"),
    ],
)
def test_files_of_our_own_contradict_a_wrong_config(
    tmp_path: Path, quote: str, bar: str, message: str
) -> None:
    write_parquet(replaced(make_bars("EURUSD", 50), quote=quote), tmp_path / "EURUSD.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[EURUSD]", f"bar={bar}"]
    with pytest.raises(DataError, match=rf"EURUSD\.parquet: {message}"):
        load_bars(data(*settings), INSTRUMENTS)


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_stamps_without_an_offset_need_their_clock(tmp_path: Path, source: str) -> None:
    bars = make_bars("EURUSD", 50)
    frame = bars.to_frame().tz_convert("Asia/Tokyo").tz_localize(None).rename_axis("time")
    if source == "parquet":
        frame.to_parquet(tmp_path / "EURUSD.parquet")
    else:
        frame.to_csv(tmp_path / "EURUSD.csv")
    settings = [f"source={source}", f"folder={tmp_path}", "instruments=[EURUSD]", "bar=1h"]
    with pytest.raises(DataError, match=rf"EURUSD\.{source}: .*data\.timezone"):
        load_bars(data(*settings, "stamped=close"), INSTRUMENTS)
    config = data(*settings, "stamped=close", "timezone=Asia/Tokyo")
    assert_same_bars(load_bars(config, INSTRUMENTS)["EURUSD"], bars)


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_a_file_may_have_another_name(tmp_path: Path, source: str) -> None:
    """Brent standing in for WTI: the instrument is what the config says, not what the file does."""
    frame = make_bars("WTIUSD", 50, 1, HOUR, start_price=70.0).to_frame()
    name = f"BRENTUSD.{source}"
    if source == "parquet":
        frame.to_parquet(tmp_path / name)
    else:
        frame.rename_axis("timestamp").to_csv(tmp_path / name)
    config = data(
        f"source={source}",
        f"folder={tmp_path}",
        "instruments=[WTIUSD]",
        f"files.WTIUSD={name}",
        "stamped=close",
        "bar=1h",
    )
    bars = load_bars(config, INSTRUMENTS)["WTIUSD"]
    assert bars.notes == (f"bars read from {name}",)
    expected = make_bars("WTIUSD", 50, 1, HOUR, start_price=70.0, notes=bars.notes)
    assert_same_bars(bars, expected)


def test_the_quote_is_the_instruments(tmp_path: Path) -> None:
    frame = make_bars("USDJPY", 50, 0, HOUR, start_price=110.0).to_frame()
    frame.to_parquet(tmp_path / "USDJPY.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[USDJPY]", "bar=1h"]
    bars = load_bars(data(*settings, "stamped=close"), INSTRUMENTS)["USDJPY"]
    assert bars.quote == "JPY"


@pytest.mark.parametrize("stamped", ["open", "close"])
def test_stamps_mean_what_the_config_says(tmp_path: Path, stamped: str) -> None:
    bars = make_bars("EURUSD", 50, 0, HOUR)
    frame = bars.to_frame()
    frame.to_parquet(tmp_path / "EURUSD.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[EURUSD]", "bar=1h"]
    read = load_bars(data(*settings, f"stamped={stamped}"), INSTRUMENTS)["EURUSD"]
    # A bar stamped with its beginning closes, and is known, one hour later.
    later = HOUR * 10**9 if stamped == "open" else 0
    assert np.array_equal(read.stamps, bars.stamps + later)


def test_session_dates_close_at_the_instruments_own_hour(tmp_path: Path) -> None:
    rows = "date,open,high,low,close,volume\n2018-03-09,1,1,1,1,0\n2018-03-12,1,1,1,1,0\n"
    for symbol in ("SPX500", "WTIUSD"):
        (tmp_path / f"{symbol}.csv").write_text(rows)
    config = data("source=csv", f"folder={tmp_path}", "instruments=[SPX500, WTIUSD]")
    bars = load_bars(config, INSTRUMENTS)
    closes = {symbol: [str(t) for t in own.to_frame().index] for symbol, own in bars.items()}
    # config/instruments.yaml: the index closes at 16:00, oil settles at 14:30 New York time, which
    # is UTC-5 on the Friday and, summer time having begun on 2018-03-11, UTC-4 on the Monday.
    assert closes == {
        "SPX500": ["2018-03-09 21:00:00+00:00", "2018-03-12 20:00:00+00:00"],
        "WTIUSD": ["2018-03-09 19:30:00+00:00", "2018-03-12 18:30:00+00:00"],
    }


@pytest.mark.parametrize("source", ["parquet", "csv"])
def test_a_missing_file_is_named(tmp_path: Path, source: str) -> None:
    config = data(f"source={source}", f"folder={tmp_path}", "instruments=[EURUSD]")
    with pytest.raises(DataError, match=rf"EURUSD\.{source}: content must be a readable {source}"):
        load_bars(config, INSTRUMENTS)


def test_broken_bars_are_refused_with_the_files_name(tmp_path: Path) -> None:
    bars = make_bars("EURUSD", 50)
    high = bars.high.copy()
    high[7] = bars.low[7] / 2.0
    replaced(bars, high=high).to_frame().to_parquet(tmp_path / "EURUSD.parquet")
    settings = ["source=parquet", f"folder={tmp_path}", "instruments=[EURUSD]", "bar=1h"]
    with pytest.raises(DataError, match=r"EURUSD\.parquet: EURUSD must hold clean bars: row 7"):
        load_bars(data(*settings, "stamped=close"), INSTRUMENTS)


def test_an_unknown_instrument_is_refused(tmp_path: Path) -> None:
    config = data("source=parquet", f"folder={tmp_path}", "instruments=[EURUSX]")
    with pytest.raises(RulesError, match=r"found 'EURUSX'\. Did you mean EURUSD\?"):
        load_bars(config, INSTRUMENTS)


def test_one_split_for_all_instruments() -> None:
    """The cuts are the calendar's: the later start of one moves them for both."""
    early = bars_from_closes(np.linspace(1.0, 2.0, 400), "EURUSD")
    late = bars_from_closes(np.linspace(1.0, 2.0, 200), "GBPUSD", start_ns=int(early.stamps[199]))
    config = data("source=parquet", "folder=unread", "instruments=[EURUSD, GBPUSD]", "bar=1h")
    split = split_bars({"EURUSD": early, "GBPUSD": late}, config)
    # Both have bars in the last 200 hours; 60 % of the 199 steps between the first and the last of
    # those is 119.4, so the cut is the stamp 120 steps behind the common start, and the five bars
    # before and after it (the defaults of purge and embargo) belong to no part.
    start = int(late.stamps[0])
    hours = [(t - start) / (HOUR * 10**9) for t in (split.train.end_ns, split.validation.start_ns)]
    assert hours == [115.0, 125.0]
    assert split.train.start_ns == early.stamps[0]
    assert split.test.end_ns == early.stamps[-1] + 1


def test_yahoos_cache_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as it is where something is cached, downloaded where nothing is."""
    days = weekdays(date(2024, 2, 26), 30)
    exchange = random_exchange(days)
    config = data("source=yahoo", f"folder={tmp_path / 'cache'}", "instruments=[SPX500]")
    with serve({"^GSPC": exchange}, monkeypatch, tmp_path):
        bars = load_bars(config, INSTRUMENTS)["SPX500"]
        exchange.error = OSError("no network any more")
        assert_same_bars(load_bars(config, INSTRUMENTS)["SPX500"], bars)
    np.testing.assert_allclose(bars.close, exchange.prices[:, 3], rtol=1e-7)
    assert bars.notes == ("Yahoo Finance ^GSPC, 1d bars as traded",)


def test_when_days_end() -> None:
    """Bundled series at their own hour, files at the instrument's, UTC days at midnight."""
    hourly = data("source=parquet", "folder=x", "stamped=open", "bar=1h")
    dates = data("source=parquet", "folder=x", "stamped=session")
    utc_days = data("source=parquet", "folder=x", "stamped=open")
    session = INSTRUMENTS["WTIUSD"].session
    # Yahoo's day of a future is New York's.
    yahoo = session_of("WTIUSD", data("source=yahoo"), INSTRUMENTS)
    assert yahoo is not None and yahoo.close == "23:59"
    assert session_of("WTIUSD", data("source=yahoo", "bar=1h"), INSTRUMENTS) == session
    assert session_of("WTIUSD", data(), INSTRUMENTS) == BUNDLED_SESSION
    assert session_of("WTIUSD", hourly, INSTRUMENTS) == session
    assert session_of("WTIUSD", dates, INSTRUMENTS) == session
    assert session_of("WTIUSD", utc_days, INSTRUMENTS) is None


def test_daily_files_say_when_their_days_end(tmp_path: Path) -> None:
    """A week of Yahoo's gold, whose days end 23:59 in New York, is Monday to Friday.

    On UTC's clock, or with the instrument's own 17:00, its Friday would be in the next week.
    """
    bars = resample(make_bars("XAUUSD", 24 * 40), "1d", YAHOO_GOLD)
    write_parquet(bars, tmp_path / "XAUUSD.parquet", YAHOO_GOLD)
    for stamped in ("open", "session"):
        settings = ("source=parquet", f"folder={tmp_path}", f"stamped={stamped}")
        config = data(*settings, "instruments=[XAUUSD]")
        assert session_of("XAUUSD", config, INSTRUMENTS) == YAHOO_GOLD
        assert_same_bars(load_bars(config, INSTRUMENTS)["XAUUSD"], bars)
    weeks = resample(bars, "1w", session_of("XAUUSD", config, INSTRUMENTS))
    assert set(
        pd.DatetimeIndex(weeks.stamps)
        .tz_localize("UTC")
        .tz_convert("America/New_York")
        .strftime("%a %H:%M")
    ) == {"Fri 23:59"}
    assert set(weeks.stamps) <= set(bars.stamps)
    # Without the file's word, Friday's bar closes in another week.
    wrong = resample(bars, "1w", INSTRUMENTS["XAUUSD"].session)
    assert not set(wrong.close) & set(weeks.close)


def test_a_files_session_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "XAUUSD.parquet"
    write_parquet(make_bars("XAUUSD"), path)
    assert file_session(path) is None and file_session(tmp_path / "none.parquet") is None
    broken = YAHOO_GOLD.model_copy(update={"close": "25:00"})
    write_parquet(make_bars("XAUUSD"), path, broken)
    with pytest.raises(DataError, match=r"XAUUSD\.parquet: session\.close must be a time"):
        file_session(path)


def test_bars_can_be_made_up() -> None:
    settings = ("source=synthetic", "synthetic.bars=300", "bar=1h")
    config = data(*settings)
    bars = load_bars(config, INSTRUMENTS)
    assert tuple(bars) == config.instruments
    assert {len(own) for own in bars.values()} == {300}
    assert {symbol: own.quote for symbol, own in bars.items()} == {
        symbol: INSTRUMENTS[symbol].quote for symbol in config.instruments
    }
    other = data(*settings, "synthetic.seed=8")
    assert (load_bars(other, INSTRUMENTS)["EURUSD"].close != bars["EURUSD"].close).any()


def test_made_up_bars_of_real_blocks_need_the_bundled_series() -> None:
    with pytest.raises(DataError, match="must be one of the bundled series; found 'EURUSD'"):
        load_bars(data("source=synthetic", "synthetic.scenario=bootstrap"), INSTRUMENTS)
