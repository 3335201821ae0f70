# SPDX-License-Identifier: Apache-2.0
"""The instruments: what `config/instruments.yaml` says of each, checked.

    instruments = load_instruments(None)
    instruments["USDJPY"].quote        # "JPY"

That file's head explains the units and where its figures come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator

from mtquant.core.checked import Section, ZoneName, did_you_mean, read_yaml, validated
from mtquant.core.errors import RulesError

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Text = Annotated[str, Field(min_length=1)]
CostBps = Annotated[float, Field(ge=0.0, lt=10_000.0)]
RateBps = Annotated[float, Field(gt=-10_000.0, lt=10_000.0)]


class Session(Section):
    """When an instrument's day ends.

    Attributes:
        timezone: IANA name of the clock that `close` is read on.
        close: ``"HH:MM"``, end of the session; a daily bar is known from then on.
        week_opens: Local weekday of the week's first trade.
    """

    timezone: ZoneName
    close: Annotated[str, Field(pattern=r"^[0-2][0-9]:[0-5][0-9]$")]
    week_opens: Weekday

    @field_validator("close")
    @classmethod
    def _close_exists(cls, text: str) -> str:
        if not "00:00" < text < "24:00":
            raise ValueError("must be a time of day after midnight")
        return text


class Instrument(Section):
    """One tradable thing and what a trade of it costs; bps are of the traded notional.

    Attributes:
        symbol: Our name for it.
        name: What it is, in words.
        sector: Domain of its specialist, and the group of the sector limit.
        quote: ISO 4217 code of the currency its price is in.
        yahoo: Ticker at Yahoo Finance.
        oanda: Name at OANDA; None where it is not traded there.
        tick: Smallest price step, quote currency.
        lot: Smallest quantity, units of the instrument.
        multiplier: Quote currency per unit and point of price.
        margin_frac: Initial margin, share of the notional.
        spread_bps: Full bid-ask spread; half of it is paid per side.
        commission_bps: Commission per side.
        slippage_bps: Further loss against the quote, per side.
        financing_long_bps: Cost of holding a long position, per year; negative is income.
        financing_short_bps: The same for a short position.
        session: When its day ends.
        source: Where the figures come from.
    """

    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9._-]+$")]
    name: Text
    sector: Literal["forex", "commodities", "equity"]
    quote: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    yahoo: Text
    oanda: Annotated[str, Field(pattern=r"^[A-Z0-9]+_[A-Z0-9]+$")] | None = None
    tick: PositiveFloat
    lot: PositiveFloat
    multiplier: PositiveFloat
    margin_frac: Annotated[float, Field(gt=0.0, le=1.0)]
    spread_bps: CostBps
    commission_bps: CostBps
    slippage_bps: CostBps
    financing_long_bps: RateBps
    financing_short_bps: RateBps
    session: Session
    source: Text


def load_instruments(path: Path | None = None) -> dict[str, Instrument]:
    """The instruments of a file by symbol, in the file's order.

    Args:
        path: A YAML file of one mapping per symbol, or None for the one that ships with mtquant.

    Raises:
        ConfigError: The file cannot be read or is no mapping.
        RulesError: An instrument lacks a figure or holds one that cannot be.
    """
    file = shipped_instruments() if path is None else path
    instruments = {}
    for symbol, values in read_yaml(file).items():
        if not isinstance(values, Mapping):
            remedy = "See config/instruments.yaml for the keys."
            raise RulesError(f"{file}: {symbol}", "must be a mapping", values, remedy)
        instruments[str(symbol)] = validated(
            Instrument,
            {"symbol": str(symbol), **values},
            prefix=f"{file}: {symbol}.",
            error_class=RulesError,
        )
    return instruments


def shipped_instruments() -> Path:
    """The file that ships with mtquant: inside an installed package, else `config/` of the tree."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_config" / "instruments.yaml"
    return installed if installed.exists() else package.parent / "config" / "instruments.yaml"


def instrument_of(instruments: Mapping[str, Instrument], symbol: str) -> Instrument:
    """One instrument by symbol.

    Raises:
        RulesError: There is none of that name; the message names the nearest.
    """
    if symbol not in instruments:
        remedy = f"{did_you_mean(symbol, list(instruments))} Or add it to config/instruments.yaml."
        raise RulesError("instrument", "must be a configured symbol", symbol, remedy)
    return instruments[symbol]
