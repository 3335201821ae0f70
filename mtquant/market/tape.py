# SPDX-License-Identifier: Apache-2.0
"""The tape: a panel of bars as the flat arrays that the desk reads, with every currency rate worked
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mtquant.core.aligned import aligned, aligned_copy
from mtquant.core.compiled import kernel
from mtquant.core.errors import RulesError
from mtquant.core.lanes import LANES
from mtquant.core.moves import SIDE, natural, turn
from mtquant.data.panel import Panel
from mtquant.data.stamps import NANOSECONDS
from mtquant.market.rules import HOURS, MOST_INSTRUMENTS, InstrumentRules, Rules
from mtquant.risk.dependence import RiskTable, VarMethod, risk_table

Float = NDArray[np.float64]

TAPE_COLUMNS = 8  # a cache line, and squares of `turn`
(
    T_OPEN,
    T_HIGH,
    T_LOW,
    T_CLOSE,
    T_RATE_OPEN,
    T_RATE_CLOSE,
    T_TRADABLE,  # 0 without a bar of its own, 1 with one; above: 1 + the most lots that fill
    T_EXTRA_COST,  # what the hour adds to half the spread, fraction of the mid
) = range(TAPE_COLUMNS)
NO_LOT = 1.5  # of T_TRADABLE: tradable, but the volume allows no lot

# A sheet is what a block of accounts needs to know of one bar: for each instrument the columns of
# the tape and these, each of LANES numbers, in one flat array.
SHEET_COLUMNS = TAPE_COLUMNS + 8
(
    S_TARGET,  # exposure asked for by the policy
    S_WANTED,  # the same, with the held one where the policy asked for nothing
    S_PLANNED,  # exposure after the limits
    S_QUEUED,  # order
    S_FINANCING,  # paid in the bar
    S_DEVIATION,  # one-day standard deviation of the instrument, known at the decision
    S_SECTOR,  # gross exposure of sector n
    S_HELD,  # exposure held
) = range(TAPE_COLUMNS, SHEET_COLUMNS)
SHEET_SIZE = SHEET_COLUMNS * LANES

CLOCK_COLUMNS = 2
C_ELAPSED, C_BENCHMARK = range(CLOCK_COLUMNS)


@dataclass(frozen=True)
class Tape:
    """What the desk needs to know about every bar; T bars, N instruments.

    Attributes:
        prices: float64 [T, N, TAPE_COLUMNS]: open, high, low, close (mids, quote currency, NaN
            before an instrument's first bar), rates at open and close, 1.0 where the instrument
            has a bar of its own (more where its volume limits orders), and what the hour adds to
            half its spread.
        clock: float64 [T, CLOCK_COLUMNS]: seconds since the bar before, and the equal-weight simple
            return of the instruments that traded (the benchmark; 0 where none did).
        own_rate: For each instrument whether its rate is the inverse of its own price.
        symbols, stamps, bars_per_year, notes: As in the panel.
    """

    prices: Float
    clock: Float
    own_rate: tuple[bool, ...]
    symbols: tuple[str, ...]
    stamps: NDArray[np.int64]
    bars_per_year: float
    notes: tuple[str, ...]
    _risk: dict[str, RiskTable] = field(default_factory=dict, repr=False, compare=False)

    def risk(self, method: VarMethod) -> RiskTable:
        """The risk of every bar, worked out once per method."""
        if method not in self._risk:
            close, own = self.prices[:, :, T_CLOSE], self.prices[:, :, T_TRADABLE] > 0.0
            self._risk[method] = risk_table(close, own, self.bars_per_year, method)
        return self._risk[method]

    @classmethod
    def from_panel(cls, panel: Panel, rules: Rules) -> Tape:
        """Lays a panel out for the desk.

        Raises:
            RulesError: The panel's instruments are not the rules', or a currency has no path to the
                account.
        """
        if panel.symbols != rules.symbols:
            raise RulesError(
                "symbols",
                "must be the same in panel and rules",
                panel.symbols,
                f"The rules hold {rules.symbols}; build both from one list.",
            )
        prices = aligned((len(panel.stamps), len(panel.symbols), TAPE_COLUMNS))
        for column, array in enumerate((panel.open, panel.high, panel.low, panel.close)):
            prices[:, :, column] = array
        prices[:, :, T_TRADABLE] = _tradable(panel, rules)
        own = []
        for n, item in enumerate(rules.instruments):
            steps = currency_path(item.quote, rules.account_currency, rules.instruments)
            prices[:, n, T_RATE_OPEN] = rates_along(steps, panel.open)
            prices[:, n, T_RATE_CLOSE] = rates_along(steps, panel.close)
            prices[:, n, T_EXTRA_COST] = extra_cost(panel.stamps, panel.bar_seconds, item)
            own.append((n, True) in steps)
        clock = np.column_stack(
            [panel.elapsed_seconds, benchmark_returns(panel.close, panel.tradable)]
        )
        return cls(
            prices=prices,
            clock=aligned_copy(clock),
            own_rate=tuple(own),
            symbols=panel.symbols,
            stamps=panel.stamps,
            bars_per_year=panel.bars_per_year,
            notes=panel.notes,
        )


def _tradable(panel: Panel, rules: Rules) -> Float:
    """T_TRADABLE, float64 [T, N]: 1 + the lots that may be filled where volume limits them."""
    tradable = panel.tradable.astype(np.float64)
    if rules.max_volume_frac == np.inf:
        return tradable
    lots = np.array([item.lot for item in rules.instruments])
    most = np.floor(rules.max_volume_frac * panel.volume / lots)
    return tradable * np.where(most >= 1.0, 1.0 + most, NO_LOT)


def extra_cost(stamps: NDArray[np.int64], bar_seconds: int, item: InstrumentRules) -> Float | float:
    """What the hour in which each bar opens adds to half the spread, float64 [T]."""
    if not item.spread_by_hour:
        return 0.0
    opened = stamps // NANOSECONDS - bar_seconds
    hours = opened // 3600 % HOURS
    extra: Float = (np.array(item.spread_by_hour)[hours] - 1.0) * item.spread_bps / 2.0 / 10_000.0
    return extra


Step = tuple[int, bool]  # instrument, and whether its price is inverted


def currency_path(
    quote: str, account: str, instruments: Sequence[InstrumentRules]
) -> tuple[Step, ...]:
    """Instruments whose prices turn `quote` into `account`: none, one, or two through any third
    currency.

    Raises:
        RulesError: There is no such path. A guess here would be a wrong profit everywhere.
    """
    if quote == account:
        return ()
    steps: dict[tuple[str, str], Step] = {}
    for n, item in enumerate(instruments):
        if item.sector == "forex":
            steps.setdefault((item.symbol[:3], item.symbol[3:6]), (n, False))
            steps.setdefault((item.symbol[3:6], item.symbol[:3]), (n, True))
    if (quote, account) in steps:
        return (steps[quote, account],)
    for (source, middle), first in steps.items():
        if source == quote and (middle, account) in steps:
            return first, steps[middle, account]
    raise RulesError(
        "account_currency",
        f"must be reachable from quote currency {quote}",
        account,
        f"Add an instrument that converts it, for example {account}{quote} or {quote}{account}.",
    )


def rates_along(steps: tuple[Step, ...], mids: Float) -> Float:
    """Rate along a path at one moment of every bar, float64 [T]; NaN while a price on the path is
    unknown.
    """
    rate = np.ones(len(mids))
    for n, inverted in steps:
        rate = rate / mids[:, n] if inverted else rate * mids[:, n]
    return rate


def benchmark_returns(close: Float, tradable: NDArray[np.bool_]) -> Float:
    """Equal-weight simple return of the instruments with a bar of their own and a known close
    before it.
    """
    change = np.full_like(close, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change[1:] = close[1:] / close[:-1] - 1.0
    usable = tradable & np.isfinite(change)
    count = usable.sum(axis=1)
    total = np.where(usable, change, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.zeros(len(close)), where=count > 0)


@kernel
def sheet_at(n: int, column: int) -> int:
    """Where a column of instrument n begins in a sheet."""
    return n * SHEET_SIZE + column * LANES


@kernel
def load_bars(tape: Float, rows: NDArray[np.int64], back: int, sheet: Float, live: int) -> None:
    """Lays the bars `back` rows before the accounts' own side by side."""
    count = min(max(tape.shape[1], 0), MOST_INSTRUMENTS)
    size = count * TAPE_COLUMNS
    turned = live - live % SIDE
    for i in range(0, turned, SIDE):
        a, b = (rows[i] - back) * size, (rows[i + 1] - back) * size
        c, d = (rows[i + 2] - back) * size, (rows[i + 3] - back) * size
        for n in range(count):
            for column in range(0, TAPE_COLUMNS, SIDE):
                k, to = n * TAPE_COLUMNS + column, sheet_at(n, column) + i
                columns = (to, to + LANES, to + 2 * LANES, to + 3 * LANES)
                turn(sheet, columns, tape, (a + k, b + k, c + k, d + k))
    for i in range(turned, live):
        bar = tape[natural(rows[i] - back)]
        for n in range(count):
            for column in range(TAPE_COLUMNS):
                sheet[sheet_at(n, column) + i] = bar[n, column]
