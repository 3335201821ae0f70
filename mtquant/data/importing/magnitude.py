# SPDX-License-Identifier: Apache-2.0
"""The rules on prices beside each other: lost decimal points, changes of scale, spikes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtquant.core.checked import Section
from mtquant.core.errors import DataError
from mtquant.data.bars import stamp_text
from mtquant.data.importing.columns import PRICES
from mtquant.data.importing.rules import Float, Stamps, Values
from mtquant.data.importing.sheet import Rows, Sheet
from mtquant.data.importing.source import ImportSource

FACTOR = 10.0  # no market moves by it from one bar to the next; a lost decimal point moves by more
AROUND = 21  # bars whose median close is what a row is compared with
DUST = 1e-12
CLOSE = PRICES.index("close")
SPIKE_MOVES = 25.0
SPIKE_AROUND = 101
MOST_SPIKES = 10


class Spike(Section):
    """A price that stands out and is kept.

    Attributes:
        line: Line number in the file.
        stamp: When the bar closed.
        moves: Its size, in typical moves of the bars around it (median absolute change of close).
    """

    line: int
    stamp: str
    moves: float


class Spikes(NamedTuple):
    """Places among the ordered rows, and the sizes, of all spikes."""

    places: Rows
    moves: Float


def check_magnitude(sheet: Sheet, rows: Rows, values: Values, source: ImportSource) -> Rows:
    """The rows that stand after the rules on magnitude.

    Args:
        sheet: The rows.
        rows: Those that stand, oldest first.
        values: Prices and volume.
        source: `price_scale` and `price_range`.

    Raises:
        DataError: The prices lack decimals and nobody said why, their median is not where it is
            expected, their scale changes, or the policy refuses a row.
    """
    prices = values.prices

    def shown(row: int) -> str:
        return ", ".join(f"{price:g}" for price in prices[row])

    _check_level(sheet, rows, prices, source)
    broken = np.zeros(len(sheet), dtype=bool)
    around = pd.Series(prices[rows, CLOSE]).rolling(AROUND, center=True, min_periods=1).median()
    ratio = prices[rows] / around.to_numpy()[:, None]
    broken[rows[((ratio >= FACTOR) | (ratio <= 1.0 / FACTOR)).any(axis=1)]] = True
    if sheet.policy.magnitude == "keep":
        broken |= _jumps(rows, prices, len(sheet))
    sheet.meet("magnitude", broken, shown)
    rows = rows[sheet.alive[rows]]
    if sheet.policy.magnitude != "keep":
        remedy = "The scale of the prices changes there: cut the file in two, or keep them with"
        sheet.meet(
            "magnitude",
            _jumps(rows, prices, len(sheet)),
            shown,
            answer="refuse",
            remedy=f"{remedy} magnitude=keep.",
        )
    return rows


def find_spikes(rows: Rows, prices: Float) -> Spikes:
    """Closes that come back at once and wicks, larger than `SPIKE_MOVES` typical moves.

    Args:
        rows: T rows, oldest first.
        prices: float64 [R, 4], positive.
    """
    logs = np.log(prices[rows])
    change = np.diff(logs[:, CLOSE], prepend=logs[:1, CLOSE])
    near = pd.Series(np.abs(change)).rolling(SPIKE_AROUND, center=True, min_periods=1).median()
    typical = np.maximum(near.to_numpy(), np.median(np.abs(change)) / 2.0)
    after = np.append(change[1:], 0.0)
    returned = np.abs(change + after) < np.abs(change) / 2.0
    body = logs[:, [PRICES.index("open"), CLOSE]]
    wick = np.maximum(
        logs[:, PRICES.index("high")] - body.max(axis=1),
        body.min(axis=1) - logs[:, PRICES.index("low")],
    )
    size = np.maximum(wick, np.where(returned, np.abs(change), 0.0))
    moves = np.divide(size, typical, out=np.zeros_like(size), where=typical > 0.0)
    places = np.flatnonzero(moves > SPIKE_MOVES)
    return Spikes(places, moves[places])


def largest(spikes: Spikes, rows: Rows, sheet: Sheet, closed: Stamps) -> tuple[Spike, ...]:
    """The largest spikes, for the report."""
    order = np.argsort(-spikes.moves, kind="stable")[:MOST_SPIKES]
    return tuple(
        Spike(
            line=int(sheet.lines[rows[place]]),
            stamp=stamp_text(int(closed[rows[place]])),
            moves=round(float(moves), 1),
        )
        for place, moves in zip(spikes.places[order], spikes.moves[order], strict=True)
    )


def _check_level(sheet: Sheet, rows: Rows, prices: Float, source: ImportSource) -> None:
    """The two ways to notice that a whole file has lost its decimal points."""
    if len(rows) == 0:
        return
    close = float(np.median(prices[rows, CLOSE]))
    line = f"{sheet.name}, line {sheet.lines[rows[0]]}"
    if source.price_range is not None:
        low, high = source.price_range
        if not low <= close <= high:
            factor = 10.0 ** round(np.log10(close / np.sqrt(low * high)))
            scale = (source.price_scale or 1.0) * factor
            rule = f"must have a median close within {low:g} to {high:g} [price_range]"
            remedy = f"Say price_scale={scale:g} if that many decimals were lost."
            raise DataError(sheet.name, rule, close, remedy)
    elif source.price_scale is None and _whole(prices[rows]):
        rule = "must have prices with decimals, or say that they have none [price_scale]"
        found = ", ".join(f"{price:.0f}" for price in prices[rows[0]])
        remedy = "Say price_scale=1 if they are whole, else what they were multiplied by: 100000."
        raise DataError(line, rule, found, remedy)


def _whole(prices: Float) -> bool:
    """Whether no price has decimals; those that arithmetic left (158611.00000000003) are none."""
    return bool((np.abs(prices - np.rint(prices)) <= DUST * prices).all())


def _jumps(rows: Rows, prices: Float, count: int) -> NDArray[np.bool_]:
    """Rows whose close is ten times above or below the close before."""
    jumps = np.zeros(count, dtype=bool)
    change = np.abs(np.diff(np.log(prices[rows, CLOSE])))
    jumps[rows[1:][change >= np.log(FACTOR)]] = True
    return jumps
