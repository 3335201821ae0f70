# SPDX-License-Identifier: Apache-2.0
"""Asking Yahoo: one ticker, one request, and what went wrong in a few harmless words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from typing import Literal, Protocol

import pandas as pd

REQUEST_SECONDS = 10.0
LONGEST_TEXT = 160
NOT_FOUND = 404

Kind = Literal["rate limited", "unreachable", "refused", "failed"]


class Transport(Protocol):
    """Whatever brings an answer in the shape of yfinance.

    Attributes:
        name: Program and version, for the manifest.
    """

    @property
    def name(self) -> str: ...

    def download(self, ticker: str, start: date | None, interval: str) -> pd.DataFrame:
        """Split-adjusted bars of a ticker from a day on (None: all there are) until now.

        The end is always now, because Yahoo's prices are in today's shares and only an answer that
        reaches until today lists all splits that they are adjusted for.

        Args:
            ticker: Yahoo's name of the instrument.
            start: First day, on the exchange's calendar.
            interval: Yahoo's name of the bar length, such as ``"1d"`` or ``"60m"``.

        Returns:
            The frame that yfinance makes, columns Open, High, Low, Close, Volume, Dividends and
            Stock Splits. ``attrs["currency"]`` is Yahoo's currency of the prices, where known.

        Raises:
            Exception: Whatever goes wrong; `failure_of` sorts it.
        """
        ...


class YfinanceTransport:
    """The real thing: `yfinance.Ticker.history`, which needs the network.

    `yfinance.download` would be shorter, but since version 1.4 it keeps the reasons of failures to
    itself.
    """

    @property
    def name(self) -> str:
        return f"yfinance {metadata.version('yfinance')}"

    def download(self, ticker: str, start: date | None, interval: str) -> pd.DataFrame:
        """As `Transport` says."""
        import yfinance  # heavy, and it opens a session

        span = {"period": "max"} if start is None else {"start": start}
        with _telling():
            asked = yfinance.Ticker(ticker)
            frame: pd.DataFrame = asked.history(
                **span,
                interval=interval,
                auto_adjust=False,
                actions=True,
                timeout=REQUEST_SECONDS,
            )
            frame.attrs["currency"] = asked.get_history_metadata().get("currency")
        return frame


@contextmanager
def _telling() -> Iterator[None]:
    """Lets yfinance raise what goes wrong instead of printing it, answers of Yahoo and all.

    Its warnings are its own affair: under pandas 3.1 every call has several.
    """
    import yfinance

    options, log = yfinance.config.debug, logging.getLogger("yfinance")
    hidden, disabled = options.hide_exceptions, log.disabled
    options.hide_exceptions, log.disabled = False, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        options.hide_exceptions, log.disabled = hidden, disabled


@dataclass(frozen=True)
class Failure:
    """Why a request brought nothing.

    Attributes:
        kind: ``"rate limited"`` and ``"unreachable"`` concern every ticker; ``"refused"`` means
            that Yahoo said why, so asking again is useless; ``"failed"`` is anything else.
        text: One short line.
    """

    kind: Kind
    text: str


def failure_of(error: Exception) -> Failure:
    """Sorts what a transport raised."""
    # Only a program that asks Yahoo pays for importing yfinance.
    from yfinance import exceptions

    text = short(f"{type(error).__name__}: {error}")
    if isinstance(error, exceptions.YFRateLimitError):
        return Failure("rate limited", text)
    if isinstance(error, exceptions.YFPricesMissingError):
        return Failure("refused" if error.yahoo_reason is not None else "failed", text)
    if isinstance(error, exceptions.YFTickerMissingError | exceptions.YFInvalidPeriodError):
        return Failure("refused", text)
    # Errors of curl_cffi and requests are OSErrors; those whose answer has a status came through.
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if isinstance(error, OSError) and not status:
        return Failure("unreachable", text)
    return Failure("refused" if status == NOT_FOUND else "failed", text)


def short(text: str) -> str:
    """A text from outside as one line of at most 160 printable characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 3] + "..."
