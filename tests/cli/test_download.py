# SPDX-License-Identifier: Apache-2.0
"""`mtquant data download`: what it prints, what it writes and how it fails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curl_cffi.requests.exceptions import DNSError
from typer.testing import CliRunner

from mtquant.cli import download, main
from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError, DataError, RulesError, RunError
from mtquant.data.files import read_parquet
from mtquant.data.instruments import load_instruments
from mtquant.data.sources import load_bars, session_of
from mtquant.data.yahoo.download import YahooDownloader
from mtquant.data.yahoo.retry import Retry
from tests.support.yahoo import Exchange, ns, random_exchange, serve, weekdays

DAYS = weekdays(date(2024, 2, 26), 40)


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Exchange]]:
    """Two tickers; the command waits for nothing."""
    there = {
        "^GSPC": random_exchange(DAYS, dividends={DAYS[20]: 1.0}),
        "EURUSD=X": random_exchange(DAYS, 1, timezone="Europe/London", opens="00:00"),
    }

    def hasty(cache: Path, revised: Any) -> YahooDownloader:
        return YahooDownloader(cache, revised=revised, retry=Retry(sleep=lambda seconds: None))

    monkeypatch.setattr(download, "yahoo", hasty)
    with serve(there, monkeypatch, tmp_path):
        yield there


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "150"}).invoke(main.app, ["data", "download", *arguments])


def test_bars_are_downloaded_shown_and_written(
    exchanges: dict[str, Exchange], tmp_path: Path
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "out"
    flags = ["--cache", str(cache), "--output", str(out)]
    span = ["--start", str(DAYS[2]), "--end", str(DAYS[30])]
    done = run("SPX500", "EURUSD", *flags, *span)
    assert done.exit_code == 0, done.output
    assert "downloaded" in done.output and "2024-02-28 21:00" in done.output
    assert f"wrote {out / 'SPX500.parquet'} (28 bars)" in done.output
    bars = read_parquet(out / "SPX500.parquet")
    assert bars.stamps[-1] == ns(f"{DAYS[29]} 16:00")
    # The dividend of row 20 lowers what came before it; what follows is as traded.
    true = exchanges["^GSPC"].prices[2:30, 3]
    np.testing.assert_allclose(bars.close[18:], true[18:], rtol=1e-7)
    paid = true[18] / (true[18] + 1.0)
    np.testing.assert_allclose(bars.close[:18], true[:18] * paid, rtol=1e-6)
    # The files are what `data.source: parquet` reads.
    settings = ["data.source=parquet", f"data.folder={out}", "data.instruments=[SPX500, EURUSD]"]
    config, instruments = load_config(None, settings).data, load_instruments(None)
    assert len(load_bars(config, instruments)["EURUSD"]) == 28
    # Their weeks end when Yahoo's days do: a pair's at midnight in London.
    ends = [session_of(symbol, config, instruments) for symbol in config.instruments]
    assert [f"{end.close} {end.timezone}" for end in ends if end is not None] == [
        "16:00 America/New_York",
        "23:59 Europe/London",
    ]


def test_a_second_run_asks_nobody(exchanges: dict[str, Exchange], tmp_path: Path) -> None:
    flags = ["SPX500", "--cache", str(tmp_path / "cache"), "--end", str(DAYS[30])]
    assert run(*flags).exit_code == 0
    exchanges["^GSPC"].error = DNSError("no such host")
    done = run(*flags)
    assert done.exit_code == 0 and "current" in done.output


def test_without_network_every_symbol_is_named(
    exchanges: dict[str, Exchange], tmp_path: Path
) -> None:
    flags = ["SPX500", "EURUSD", "--cache", str(tmp_path / "cache")]
    assert run(*flags).exit_code == 0
    for exchange in exchanges.values():
        exchange.error, exchange.requests = DNSError("Could not resolve host"), 0
    done = run(*flags)
    assert done.exit_code == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in errors] == ["SPX500", "EURUSD"]
    assert all(line.endswith("(what is cached is kept)") for line in errors)
    assert "unreachable" in errors[0]
    assert [exchange.requests for exchange in exchanges.values()] == [4, 1]


def test_one_bad_ticker_costs_nobody_else(exchanges: dict[str, Exchange], tmp_path: Path) -> None:
    done = run("US30", "SPX500", "--cache", str(tmp_path / "cache"))
    assert done.exit_code == 2
    assert "downloaded" in done.output
    assert done.stderr.startswith("error: US30 (^DJI) must be answered by Yahoo (refused)")


def test_revisions_and_gaps_are_shown(exchanges: dict[str, Exchange], tmp_path: Path) -> None:
    flags = ["SPX500", "--cache", str(tmp_path / "cache")]
    gspc = exchanges["^GSPC"]
    gspc.prices[10:13] = np.nan
    gspc.today = DAYS[35]
    assert "longest gap 3 weekdays, 2024-03-11 to 2024-03-13" in run(*flags).output
    gspc.today = DAYS[39]
    gspc.prices[34] *= 1.01
    said = run(*flags).output
    assert f"SPX500: {DAYS[34]} 20:00:00Z close was " in said
    assert "SPX500: the cached figures are kept (revised: keep)" in said


def test_an_empty_span_is_not_written(exchanges: dict[str, Exchange], tmp_path: Path) -> None:
    flags = ["--cache", str(tmp_path / "cache"), "--output", str(tmp_path / "out")]
    done = run("SPX500", *flags, "--start", "2024-01-01", "--end", "2024-01-20")
    assert done.exit_code == 0
    assert "no bars in that span" in done.output
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_says_what_is_kept(exchanges: dict[str, Exchange], tmp_path: Path) -> None:
    exchanges["EURUSD=X"].error = KeyboardInterrupt()  # type: ignore[assignment]
    done = run("SPX500", "EURUSD", "--cache", str(tmp_path / "cache"))
    assert done.exit_code == 130
    assert f"interrupted; what was downloaded is in {tmp_path / 'cache'}" in done.stderr


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (["SPX500", "--cache", "README.md"], RunError, "README.md must be a writable folder"),
        (["SPX50"], RulesError, "found 'SPX50'. Did you mean SPX500"),
        (["--start", "yesterday"], ConfigError, "--start must be a day"),
        (["--start", "2024-02-01", "--end", "2024-01-01"], ConfigError, "--end must come after"),
        (["SPX500", "--bar", "3h"], DataError, "bar must be one of 1d, 1h"),
    ],
)
def test_flags_are_checked(flags: list[str], error: type, message: str) -> None:
    done = run(*flags)
    assert isinstance(done.exception, error)
    assert message in str(done.exception)
