# SPDX-License-Identifier: Apache-2.0
"""What the user knows of a file and the file does not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, PositiveFloat, field_validator, model_validator

from mtquant.core.checked import Section
from mtquant.core.errors import ConfigError
from mtquant.core.lengths import length_seconds

Role = Literal["timestamp", "date", "time", "open", "high", "low", "close", "volume", "ignore"]
Encoding = Literal["utf-8", "utf-16", "cp1252", "latin-1"]
Text = Annotated[str, Field(min_length=1)]


class ClockChange(Section):
    """A zone and the moment from which the clock went by it.

    Attributes:
        zone: IANA name, or an offset from UTC such as ``"+03:00"`` or ``"UTC+3"``.
        since: UTC moment; None for the first.
    """

    zone: Text
    since: AwareDatetime | None = None


class ImportSource(Section):
    """A price file.

    Attributes:
        symbol: The instrument.
        quote: ISO 4217 code of the currency of its prices.
        bar: Length of a bar: ``"1d"``, ``"1h"``, ``"15min"``.
        stamped: What a row's time is: the bar's ``"open"``, its ``"close"``, or the ``"session"``'s
            calendar date.
        clock: The clock that the times were read on: an IANA zone, an offset from UTC, or the dated
            list of both that a broker's server went by. Left out where times carry their offset,
            are seconds since 1970, or stand in a column named after GMT or UTC.
        session_timezone, session_close: When a session closes, for ``stamped="session"``.
        encoding: Left out: UTF-8, or what the byte order mark says.
        columns: Roles of the columns in order, for a file without a header line.
        rename: Column name -> role, where the file's own names are unknown or ambiguous.
        date_order: Whether 01/02/2020 is in February (``"day_first"``) or January; left out: the
            dates themselves have to show it.
        decimal: The decimal mark.
        thousands: The mark between groups of three digits, if any.
        price_scale: Prices are divided by it: 100000 makes 1.58611 of 158611. Must be given where
            no price of the file has decimals; 1 says that they are whole.
        price_range: Lowest and highest plausible median close, after `price_scale`.
    """

    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9._-]+$")]
    quote: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    bar: Text
    stamped: Literal["open", "close", "session"]
    clock: Text | Annotated[tuple[ClockChange, ...], Field(min_length=1)] | None = None
    session_timezone: str | None = None
    session_close: str | None = None
    encoding: Encoding | None = None
    columns: tuple[Role, ...] | None = None
    rename: Mapping[str, Role] = Field(default_factory=dict)
    date_order: Literal["day_first", "month_first"] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'"] | None = None
    price_scale: PositiveFloat | None = None
    price_range: tuple[PositiveFloat, PositiveFloat] | None = None

    @field_validator("bar")
    @classmethod
    def _bar_is_a_length(cls, text: str) -> str:
        length_seconds(text, "bar", ConfigError)
        return text

    @property
    def bar_seconds(self) -> int:
        """Length of a bar, seconds."""
        return length_seconds(self.bar, "bar", ConfigError)

    @model_validator(mode="after")
    def _facts_fit(self) -> Self:
        if self.stamped == "session" and self.clock is not None:
            rule, remedy = "has no effect on session dates", "Leave it out."
            raise ConfigError("clock", rule, self.clock, remedy)
        if (self.stamped == "session") != (self.session_close is not None):
            rule = "belongs to stamped=session, and to nothing else"
            remedy = "Give session_close and session_timezone for session dates."
            raise ConfigError("session_close", rule, self.session_close, remedy)
        if self.thousands == self.decimal:
            rule, remedy = "must differ from the decimal mark", "Set decimal too."
            raise ConfigError("thousands", rule, self.thousands, remedy)
        if self.price_range is not None and self.price_range[0] > self.price_range[1]:
            rule, remedy = "must be [lowest, highest]", "Swap them."
            raise ConfigError("price_range", rule, self.price_range, remedy)
        return self
