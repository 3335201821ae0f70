# SPDX-License-Identifier: Apache-2.0
"""Which instrument earned what, bar by bar, so that nothing of the account's gain is left over.

The books are the desk's (docs/execution.md, 2): a closing fill realises its units times price less
average price, at the rate of the fill; at each close what is still held gains its units times mark
less average price, at the rate of the close. A bar's gain of an instrument is what was realised in
it, plus the change of what is not, less fees and financing. Slippage is inside the prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """What each instrument earned and paid, account currency; T bars, N instruments.

    Attributes:
        gains: float64 [T, N], after all costs; a row sums to the change of equity.
        fees: float64 [T, N], commission.
        slippage: float64 [T, N], half spread and slippage.
        financing: float64 [T, N], negative where the account was paid.
    """

    gains: Float
    fees: Float
    slippage: Float
    financing: Float

    @property
    def before_costs(self) -> Float:
        """What prices alone earned, float64 [T, N]."""
        return self.gains + self.fees + self.slippage + self.financing


@dataclass
class _Book:
    """One instrument's position at its average price, quote currency."""

    units: float = 0.0
    average: float = 0.0

    def fill(self, units: float, price: float) -> float:
        """Takes in a fill; what closing earned, in units times quote currency."""
        closed = min(abs(units), abs(self.units)) if self.units * units < 0.0 else 0.0
        gain = closed * -np.sign(units) * (price - self.average)
        kept, opened = abs(self.units) - closed, abs(units) - closed
        if opened > 0.0:
            self.average = (self.average * kept + price * opened) / (kept + opened)
        self.units += units
        return float(gain)


def attribute(ledger: Ledger) -> Attribution:
    """Every instrument's part in the account's gain.

    Args:
        ledger: Any; a NaN price counts only where something is held, and is then an error of the
            ledger that shows as NaN.
    """
    shape = ledger.positions.shape
    realised, fees, slippage = (np.zeros(shape) for _ in range(3))
    average = np.full(shape, np.nan)
    books = [_Book() for _ in ledger.symbols]
    for fill, bar in zip(ledger.fills, fill_bars(ledger), strict=True):
        n, units = int(fill[oc.FILL_INSTRUMENT]), float(fill[oc.FILL_QUANTITY])
        if units == 0.0:
            continue
        earned = books[n].fill(units, float(fill[oc.FILL_PRICE]))
        realised[bar, n] += earned * ledger.multipliers[n] * fill[oc.FILL_RATE]
        fees[bar, n] += fill[oc.FILL_FEE]
        slippage[bar, n] += fill[oc.FILL_SLIPPAGE]
        average[bar, n] = books[n].average
    held = ledger.positions != 0.0
    open_gain = np.zeros(shape)
    per_unit = (ledger.prices - _carried(average)) * ledger.rates * ledger.multipliers
    open_gain[held] = (ledger.positions * per_unit)[held]
    change = np.diff(open_gain, axis=0, prepend=0.0)
    gains = realised + change - fees - ledger.financing
    return Attribution(gains, fees, slippage, ledger.financing)


def fill_bars(ledger: Ledger) -> NDArray[np.int64]:
    """Row of the ledger whose outcome holds each fill, int64 [M].

    An order that fills at a close is dated to the bar of that close and lives from the next one on;
    everything else belongs to the bar it is dated to.
    """
    rows = ledger.fills[:, oc.FILL_ROW].astype(np.int64)
    if ledger.fill_at == "close":
        rows = rows + (ledger.fills[:, oc.FILL_ORIGIN] == oc.ORIGIN_ORDER)
    return np.clip(np.searchsorted(ledger.rows, rows), 0, max(len(ledger) - 1, 0))


def _carried(values: Float) -> Float:
    """The last number at or before each row, per column; NaN before the first."""
    rows = np.where(np.isnan(values), 0, np.arange(len(values))[:, None])
    return np.take_along_axis(values, np.maximum.accumulate(rows, axis=0), axis=0)
