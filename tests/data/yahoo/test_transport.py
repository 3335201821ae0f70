# SPDX-License-Identifier: Apache-2.0
"""Asking Yahoo: what goes wrong is sorted, told in a few words, and asked for again."""

from __future__ import annotations

import logging
import warnings
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yfinance
from curl_cffi.requests.exceptions import DNSError, Timeout
from yfinance._http import HTTPError
from yfinance.exceptions import (
    YFDataException,
    YFPricesMissingError,
    YFRateLimitError,
    YFTzMissingError,
)

from mtquant.data.instruments import load_instruments
from mtquant.data.yahoo.frames import read_answer
from mtquant.data.yahoo.retry import Retry
from mtquant.data.yahoo.transport import Failure, YfinanceTransport, failure_of, short
from tests.support.yahoo import Response, random_exchange, serve, weekdays

DAYS = weekdays(date(2024, 2, 26), 5)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (YFRateLimitError(), "rate limited"),
        (DNSError("Could not resolve host", response=Response({}, 0)), "unreachable"),
        (Timeout("timed out"), "unreachable"),
        (ConnectionResetError("reset"), "unreachable"),
        (HTTPError("HTTP Error 404: {...}", response=Response({}, 404)), "refused"),
        (HTTPError("HTTP Error 500: {...}", response=Response({}, 500)), "failed"),
        (YFTzMissingError("ACME"), "refused"),
        (YFPricesMissingError("ACME", "(1d 2024)", yahoo_reason="No data found"), "refused"),
        (YFPricesMissingError("ACME", "(1d 2024)"), "failed"),
        (YFDataException("*** YAHOO! FINANCE IS CURRENTLY DOWN! ***"), "failed"),
        # What yfinance 1.7 raises for an answer without timestamps (`utils.parse_quotes`).
        (KeyError("timestamp"), "failed"),
    ],
)
def test_failures_are_sorted(error: Exception, kind: str) -> None:
    failure = failure_of(error)
    assert failure.kind == kind
    assert failure.text.startswith(type(error).__name__)


def test_texts_from_outside_are_short_and_harmless() -> None:
    text = short("<b>\x1b[31m\r\n" + "x" * 10_000)
    assert text.startswith("<b> [31m xxx") and text.endswith("...") and len(text) == 160
    assert short("a\u202eb\tc") == "a b c"


def test_reasons_come_through_yfinance(monkeypatch: Any, tmp_path: Path) -> None:
    """The rate limit and a dead network, raised where yfinance makes its requests."""
    acme = random_exchange(DAYS)
    with serve({"ACME": acme}, monkeypatch, tmp_path):
        for error, kind in (
            (YFRateLimitError(), "rate limited"),
            (DNSError("no such host"), "unreachable"),
        ):
            acme.error = error
            with pytest.raises(type(error)) as raised:
                YfinanceTransport().download("ACME", DAYS[0], "1d")
            assert failure_of(raised.value).kind == kind
        # Nobody knows the ticker: no time zone, no prices, a page that is not there.
        with pytest.raises(Exception, match=r"404|delisted") as raised:
            YfinanceTransport().download("NONE", DAYS[0], "1d")
        assert failure_of(raised.value).kind == "refused"


def test_yfinance_keeps_its_settings_and_its_peace(
    monkeypatch: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (yfinance.config.debug.hide_exceptions, logging.getLogger("yfinance").disabled)
    with serve({"ACME": random_exchange(DAYS)}, monkeypatch, tmp_path), warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = YfinanceTransport().download("ACME", DAYS[0], "1d")
        with pytest.raises(Exception, match=r"404|delisted"):
            YfinanceTransport().download("NONE", None, "1d")
    assert len(frame) == 5 and frame.attrs == {"currency": "USD"}
    assert caplog.records == []
    settings = (yfinance.config.debug.hide_exceptions, logging.getLogger("yfinance").disabled)
    assert settings == before


def test_the_name_holds_the_version() -> None:
    assert YfinanceTransport().name == f"yfinance {yfinance.__version__}"


class Line:
    """A line that fails some times before it answers."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.waited: list[float] = []
        self.said: list[str] = []

    def __call__(self) -> pd.DataFrame:
        if self.errors:
            raise self.errors.pop(0)
        return pd.DataFrame({"Close": [1.0]})

    def ask(self, **options: Any) -> pd.DataFrame | Failure:
        retry = Retry(sleep=self.waited.append, **{"jitter": lambda: 0.5, **options})
        return retry.ask(self, notify=self.said.append)


def test_waits_double_and_are_longer_when_rate_limited() -> None:
    line = Line(OSError("a"), OSError("b"), OSError("c"))
    assert isinstance(line.ask(), pd.DataFrame)
    assert line.waited == [1.0, 2.0, 4.0]
    line = Line(YFRateLimitError(), YFRateLimitError())
    assert isinstance(line.ask(), pd.DataFrame)
    assert line.waited == [20.0, 40.0]
    assert line.said == ["rate limited, again in 20 s", "rate limited, again in 40 s"]


def test_jitter_spreads_a_wait_by_half() -> None:
    for draw, seconds in ((0.0, 0.5), (0.999, 1.499)):
        line = Line(OSError("a"))
        line.ask(jitter=lambda draw=draw: draw)
        assert line.waited == [pytest.approx(seconds)]
    # The default draws its own.
    assert 0.0 <= Retry().jitter() < 1.0


def test_patience_ends() -> None:
    line = Line(*[OSError(str(k)) for k in range(9)])
    assert line.ask(attempts=3) == Failure("unreachable", "OSError: 2")
    assert len(line.waited) == 2
    line = Line(YFTzMissingError("ACME"))
    refused = line.ask()
    assert isinstance(refused, Failure) and refused.kind == "refused" and line.waited == []


def test_a_dead_line_is_not_asked_for_long() -> None:
    """Requests of 35 seconds each: after two of them the minute is over."""
    line = Line(*[OSError(str(k)) for k in range(9)])
    seconds = iter((0.0, 35.0, 100.0, 135.0))
    assert line.ask(clock=lambda: next(seconds)) == Failure("unreachable", "OSError: 1")
    assert line.waited == [1.0]


def test_an_interrupt_is_no_failure() -> None:
    line = Line()
    line.errors = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        line.ask()


@pytest.mark.network
def test_yahoo_itself() -> None:
    """A month of the S&P 500 and of EURUSD, from the real address."""
    instruments = load_instruments(None)
    now = pd.Timestamp.now("UTC")
    for symbol in ("SPX500", "EURUSD"):
        instrument = instruments[symbol]
        start = now.date() - timedelta(days=30)
        frame = YfinanceTransport().download(instrument.yahoo, start, "1d")
        assert len(read_answer(frame, instrument, "1d", now.value).bars) > 10
