# SPDX-License-Identifier: Apache-2.0
"""Corporate actions with their dates, and prices adjusted with those known at a moment.

    today = adjusted(bars, actions, int(bars.stamps[-1]))
    then = adjusted(bars, actions, stamp_ns)     # what somebody at that moment could have computed

An adjusted history rewrites itself: each new split or dividend rescales every price before it. So
what is kept are the prices *as they were traded* and the actions beside them, and adjusted prices
are computed for a moment, with the bars and actions known by then.

A dividend counts as reinvested at the close of the first bar that trades without it. The return of
the adjusted close is then exactly the price return plus the dividend over the previous close. (Data
vendors, Yahoo's "Adj Close" among them, reinvest at the previous close less the dividend instead,
after the Center for Research in Security Prices; the two differ by the dividend yield times the
return of that one bar.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.records import write_atomically
from mtquant.data.bars import NANOSECONDS, PRICE_COLUMNS, Bars, Float, Stamps, stamp_text
from mtquant.data.files import naming

ATTRIBUTE = "mtquant.actions"
COLUMNS = ("split_ratio", "dividend")
HALF_DAY_NS = 43_200 * NANOSECONDS


@dataclass(frozen=True, eq=False)
class Actions:
    """Splits and dividends of one instrument, oldest first; A rows. The arrays are read-only.

    An action is known from `ex_stamps` on: exchanges announce it before that date.

    Attributes:
        symbol: The instrument.
        ex_stamps: int64 [A], UTC nanoseconds, strictly increasing: the midnight, on the exchange's
            clock, that begins the ex-date. Bars that close after it trade without the dividend, in
            new shares.
        split_ratio: float64 [A], new shares for one old share; 1 where there is no split.
        dividend: float64 [A], cash per share as traded on the ex-date (after that day's split), in
            the currency of the prices; 0 where there is none.
    """

    symbol: str
    ex_stamps: Stamps
    split_ratio: Float
    dividend: Float

    def __post_init__(self) -> None:
        for name in ("ex_stamps", *COLUMNS):
            dtype = np.int64 if name == "ex_stamps" else np.float64
            copy: NDArray[np.generic] = np.array(getattr(self, name), dtype=dtype)
            copy.setflags(write=False)
            object.__setattr__(self, name, copy)

    def __len__(self) -> int:
        return len(self.ex_stamps)

    def rows(self, chosen: NDArray[np.bool_]) -> Actions:
        """The actions where `chosen` (bool [A]) holds."""
        columns = {name: getattr(self, name)[chosen] for name in COLUMNS}
        return Actions(symbol=self.symbol, ex_stamps=self.ex_stamps[chosen], **columns)

    @property
    def splits(self) -> int:
        """How many of them split shares."""
        return int((self.split_ratio != 1.0).sum())

    @property
    def dividends(self) -> int:
        """How many of them pay a dividend."""
        return int((self.dividend > 0.0).sum())


def no_actions(symbol: str) -> Actions:
    """The actions of an instrument that has none, such as a currency pair."""
    return Actions(symbol, np.zeros(0, np.int64), np.zeros(0), np.zeros(0))


def ex_day(stamp_ns: int) -> str:
    """The ex-date of a stamp as text: the day of the noon after the exchange's midnight."""
    return stamp_text(int(stamp_ns) + HALF_DAY_NS)[:10]


def check_actions(actions: Actions) -> None:
    """Refuses actions that break a rule.

    Raises:
        DataError: Lengths differ; ex-dates are not strictly increasing; a ratio is not finite and
            positive; a dividend is not finite or negative.
    """
    shapes = {name: getattr(actions, name).shape for name in ("ex_stamps", *COLUMNS)}
    if set(shapes.values()) != {(len(actions),)}:
        remedy = "Give arrays of one dimension and equal length."
        raise DataError(
            f"actions of {actions.symbol}", "must have one ratio and dividend each", shapes, remedy
        )
    later = np.diff(actions.ex_stamps, prepend=np.iinfo(np.int64).min // 2) > 0
    ratio, dividend = actions.split_ratio, actions.dividend
    for holds, rule, values in (
        (later, "must have an ex-date after the one before", actions.ex_stamps),
        (np.isfinite(ratio) & (ratio > 0.0), "must have a positive split ratio", ratio),
        (np.isfinite(dividend) & (dividend >= 0.0), "must have no negative dividend", dividend),
    ):
        if not holds.all():
            row = int((~holds).argmax())
            raise DataError(
                f"actions of {actions.symbol}, row {row} ({stamp_text(actions.ex_stamps[row])})",
                rule,
                values[row].item(),
                "Correct the row or drop it.",
            )


def adjusted(bars: Bars, actions: Actions, known_at_ns: int) -> Bars:
    """The bars known at a moment, adjusted with the actions known at it.

    Prices before a split are divided by its ratio (volumes multiplied), prices before a dividend
    are scaled so that the return over the ex-date is ``(close + dividend) / close_before``. An
    action counts as soon as a bar that trades ex has closed. Nothing that happens after
    `known_at_ns` changes the result; what happens later rescales all earlier prices by common
    factors, so returns between bars that were known stay as they were.

    Args:
        bars: T bars as traded.
        actions: Their actions.
        known_at_ns: The moment, UTC nanoseconds.

    Returns:
        The bars that had closed by then (the last one at its traded prices), with a note.

    Raises:
        DataError: Bars and actions are of different instruments.
    """
    if actions.symbol != bars.symbol:
        raise DataError(
            f"actions of {bars.symbol}",
            "must be those of the bars' instrument",
            actions.symbol,
            "Pass the actions that belong to the bars.",
        )
    known = bars.rows(slice(0, int(np.searchsorted(bars.stamps, known_at_ns, side="right"))))
    first_ex = np.searchsorted(known.stamps, actions.ex_stamps, side="right")
    used = (first_ex > 0) & (first_ex < len(known))
    prices, shares = np.ones(len(known)), np.ones(len(known))
    for row, (split, cash) in _per_row(first_ex[used], actions.rows(used)).items():
        close = known.close[row]
        prices[row - 1] = close / (split * close + cash)
        shares[row - 1] = split
    # Row t is scaled by all that goes ex after it.
    price_scale, share_scale = (np.cumprod(steps[::-1])[::-1] for steps in (prices, shares))
    counted = actions.rows(used)
    note = (
        f"adjusted with the splits ({counted.splits}) and dividends ({counted.dividends}) known by "
        f"{stamp_text(known_at_ns)}: earlier price levels are not those that were traded"
    )
    return replace(
        known,
        **{name: getattr(known, name) * price_scale for name in PRICE_COLUMNS},
        volume=known.volume * share_scale,
        notes=(*known.notes, note) if len(counted) else known.notes,
    )


def as_traded(bars: Bars, actions: Actions) -> tuple[Bars, Actions]:
    """Undoes the split adjustment of a source that counts all prices in today's shares.

    Args:
        bars: T bars whose prices are divided, and volumes multiplied, by the ratio of every split
            that goes ex after them.
        actions: All splits from the first bar to the day of the download, with dividends in
            today's shares.

    Returns:
        Prices, volumes and dividends as traded.
    """
    bar_shares = later_shares(bars.stamps, actions)
    # A dividend is paid on the shares after the same day's split.
    dividend = actions.dividend * later_shares(actions.ex_stamps + 1, actions)
    prices = {name: getattr(bars, name) * bar_shares for name in PRICE_COLUMNS}
    traded = replace(bars, **prices, volume=bars.volume / bar_shares)
    return traded, replace(actions, dividend=dividend)


def later_shares(stamps: Stamps, actions: Actions) -> Float:
    """Today's shares for one share before each stamp: the product of the ratios of the splits that
    go ex at or after it, float64.
    """
    later = np.append(np.cumprod(actions.split_ratio[::-1])[::-1], 1.0)
    return np.asarray(later[np.searchsorted(actions.ex_stamps, stamps, side="left")])


def write_actions(actions: Actions, path: Path) -> None:
    """Writes actions to a parquet file, atomically."""
    ex_at = pd.DatetimeIndex(actions.ex_stamps.astype("datetime64[ns]")).tz_localize("UTC")
    columns = {name: getattr(actions, name) for name in COLUMNS}
    frame = pd.DataFrame(columns, index=ex_at.rename("ex_at"))
    frame.attrs[ATTRIBUTE] = {"symbol": actions.symbol}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, frame.to_parquet)


def read_actions(path: Path) -> Actions:
    """Actions of a file that `write_actions` wrote, checked.

    Raises:
        DataError: The file cannot be read, is of another kind, or an action breaks a rule.
    """
    with naming(path):
        try:
            frame = pd.read_parquet(path)
            symbol = frame.attrs[ATTRIBUTE]["symbol"]
            stamps = pd.DatetimeIndex(frame.index).as_unit("ns").asi8
            columns = {name: frame[name].to_numpy(dtype=np.float64) for name in COLUMNS}
        except (OSError, ValueError, KeyError, TypeError) as error:
            rule = "must be a readable file of corporate actions"
            raise DataError("content", rule, str(error), "Download it again.") from error
        actions = Actions(symbol=symbol, ex_stamps=stamps, **columns)
        check_actions(actions)
        return actions


def _per_row(first_ex: NDArray[np.intp], actions: Actions) -> dict[int, tuple[float, float]]:
    """What one share held over the close before each ex row becomes: shares, and cash paid."""
    became: dict[int, tuple[float, float]] = {}
    for row, ratio, dividend in zip(first_ex, actions.split_ratio, actions.dividend):
        shares, cash = became.get(int(row), (1.0, 0.0))
        shares *= float(ratio)
        became[int(row)] = (shares, cash + shares * float(dividend))
    return became
