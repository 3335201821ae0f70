# SPDX-License-Identifier: Apache-2.0
"""A tape that grows at one end: the last two rows of a panel, as bars come in.

Row by row it holds the same bytes as `Tape.from_panel` does for the whole panel, and the same rows
of risk, so that a desk on it cannot tell the two apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import RulesError
from mtquant.core.states import Arrays, fill
from mtquant.data.bars import NANOSECONDS
from mtquant.market.rules import Rules
from mtquant.market.tape import (
    C_BENCHMARK,
    C_ELAPSED,
    CLOCK_COLUMNS,
    T_CLOSE,
    T_EXTRA_COST,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    TAPE_COLUMNS,
    Tape,
    benchmark_returns,
    currency_path,
    extra_cost,
    rates_along,
)
from mtquant.risk.dependence import RiskTable, StreamingCovariance
from mtquant.risk.measures import bars_per_day

NEVER = np.iinfo(np.int64).min
LAST = 1  # row of the bar that closed last; the one before it is row 0

Prices = tuple[float, float, float, float]


class LiveTape:
    """The last two rows of the panel of N instruments.

    Args:
        rules: Names the instruments.
        bar_seconds: Length of a bar, the same for all.
        bars_per_year: Rows in 365.25 days, as the panel of the training counted them.

    Attributes:
        tape: Both rows, for a desk; written in place.
        count: Rows so far; the last one is row ``count - 1`` of the panel.

    Raises:
        RulesError: A currency has no path to the account, or `var_method` cannot be worked out bar
            by bar.
    """

    def __init__(self, rules: Rules, bar_seconds: int, bars_per_year: float) -> None:
        if rules.measures_risk() and rules.var_method != "ewma":
            raise RulesError(
                "environment.var_method",
                "must be ewma where bars come one at a time",
                rules.var_method,
                "Set environment.var_method=ewma, or switch off the limits that measure risk.",
            )
        if rules.max_volume_frac < np.inf or rules.latency_bars > 0:
            raise RulesError(
                "environment.max_volume_frac, latency_bars",
                "must be null and 0 where a broker fills: it has limits and a latency of its own",
                (rules.max_volume_frac, rules.latency_bars),
                "Leave them at their defaults.",
            )
        n = len(rules.symbols)
        items = self._items = rules.instruments
        self._bar_seconds = bar_seconds
        self._bar_ns = bar_seconds * NANOSECONDS
        self._paths = [currency_path(item.quote, rules.account_currency, items) for item in items]
        self._prices = np.full((2, n, TAPE_COLUMNS), np.nan)
        self._prices[:, :, T_TRADABLE] = 0.0
        self._clock = np.zeros((2, CLOCK_COLUMNS))
        self._stamps = np.full(2, NEVER)
        self._own_stamps = np.full(n, NEVER)
        self._count = np.zeros(1, dtype=np.int64)
        self._risk = np.zeros((2, 2 * n + 2, n))
        self._covariance = StreamingCovariance(n, bars_per_day(bars_per_year))
        self._measures = rules.measures_risk()
        table = RiskTable(
            self._risk[:],  # the table freezes what it is given: a view
            np.zeros((n, 1)),
            np.zeros((2, 2), dtype=np.int64),
            self._covariance.rows_per_day,
        )
        own_rate = tuple((n, True) in path for n, path in enumerate(self._paths))
        self.tape = Tape(
            self._prices,
            self._clock,
            own_rate,
            rules.symbols,
            self._stamps,
            bars_per_year,
            (),
            {rules.var_method: table},
        )

    @property
    def count(self) -> int:
        """Rows so far."""
        return int(self._count[0])

    @property
    def stamp_ns(self) -> int:
        """Close stamp of the last row; `NEVER` before the first."""
        return int(self._stamps[LAST])

    @property
    def closes(self) -> NDArray[np.float64]:
        """Last known closes, float64 [N]; NaN before an instrument's first bar."""
        return self._prices[LAST, :, T_CLOSE]

    @property
    def risk(self) -> NDArray[np.float64]:
        """What limits read of the last row, float64 [2 N + 2, N]."""
        return self._risk[LAST]

    def push(self, stamp_ns: int, bars: Mapping[int, Prices]) -> None:
        """Takes in the bars that closed at a stamp later than all before.

        Args:
            stamp_ns: UTC nanoseconds.
            bars: Column of the instrument -> open, high, low, close, for those that had a bar.
        """
        for rolling in (self._prices, self._clock, self._stamps, self._risk):
            rolling[0] = rolling[LAST]
        before = int(self._stamps[0])
        row = self._prices[LAST]
        row[:, T_TRADABLE] = 0.0
        row[:, T_OPEN:T_CLOSE] = row[:, [T_CLOSE]]
        for n, prices in bars.items():
            # A bar that opened before the row above counts as its close alone (`data/panel.py`).
            opened = max(stamp_ns - self._bar_ns, int(self._own_stamps[n]))
            row[n, : T_CLOSE + 1] = prices if opened >= before else prices[T_CLOSE]
            row[n, T_TRADABLE] = 1.0
            self._own_stamps[n] = stamp_ns
        for n, path in enumerate(self._paths):
            row[n, T_RATE_OPEN] = rates_along(path, row[None, :, T_OPEN])[0]
            row[n, T_RATE_CLOSE] = rates_along(path, row[None, :, T_CLOSE])[0]
        self._stamps[LAST] = stamp_ns
        for n, item in enumerate(self._items):
            extra = extra_cost(self._stamps[LAST:], self._bar_seconds, item)
            row[n, T_EXTRA_COST] = np.asarray(extra).reshape(-1)[0]
        tradable = row[:, T_TRADABLE] > 0.0
        if self.count:
            closes = self._prices[:, :, T_CLOSE]
            moved = benchmark_returns(closes, np.stack([tradable, tradable]))
            self._clock[LAST, C_ELAPSED] = (stamp_ns - before) / NANOSECONDS
            self._clock[LAST, C_BENCHMARK] = moved[LAST]
        if self._measures:
            self._risk[LAST] = self._covariance.update(row[:, T_CLOSE].copy(), tradable)
        self._count[0] += 1

    def state(self) -> Arrays:
        """Everything it remembers, for `restore`."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Arrays) -> None:
        """Goes on from a `state` of the same rules.

        Raises:
            CheckpointError: It is of another shape.
        """
        fill(self._arrays(), state)

    def _arrays(self) -> Arrays:
        return {
            "prices": self._prices,
            "clock": self._clock,
            "stamps": self._stamps,
            "own_stamps": self._own_stamps,
            "count": self._count,
            "risk": self._risk,
            "covariance": self._covariance.state,
        }
