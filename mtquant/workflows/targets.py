# SPDX-License-Identifier: Apache-2.0
"""The targets of spec 003, measured on the test period, each with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.config import Config
from mtquant.data.instruments import Instrument
from mtquant.evaluation.metrics import max_drawdown, periods_per_year, sharpe, win_rate
from mtquant.evaluation.significance.bootstrap import (
    DRAWS,
    mean_block_bars,
    percentile_interval,
    stationary_rows,
)
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.models import load_trained

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Attributes:
        name: Of the metric.
        least: Whether it is to be at least `level`, else at most; None where nothing is asked.
        level: The target.
        measured: On the test period.
        interval: 95 % bootstrap interval of it; NaN where there is none.
        share: Shown in percent.
    """

    name: str
    least: bool | None
    level: float
    measured: float
    interval: tuple[float, float]
    share: bool

    @property
    def bound(self) -> str:
        """The target as text."""
        if self.least is None:
            return "-"
        return f"{'>' if self.least else '<'} {self.text(self.level)}"

    @property
    def met(self) -> bool | None:
        """Whether the whole interval is on the right side; None where nothing is asked."""
        if self.least is None:
            return None
        low, high = self.interval
        return bool(low > self.level) if self.least else bool(high < self.level)

    def text(self, value: float) -> str:
        """A value of this metric."""
        if not np.isfinite(value):
            return "undefined"
        return f"{value:.1%}" if self.share else f"{value:.2f}"


LEVELS: Mapping[int, Mapping[str, float]] = {
    1: {"sharpe": 1.5, "drawdown": 0.20, "win_rate": 0.55},
    2: {"sharpe": 1.8, "drawdown": 0.18, "win_rate": 0.60, "var": 0.95},
    3: {"sharpe": 2.0, "drawdown": 0.15, "win_rate": 0.65, "var": 0.98},
}
"""Spec 003, "Performance Targets"."""


def measure(
    phase: int,
    folder: Path,
    config: Config,
    instruments: Mapping[str, Instrument],
    draws: int = DRAWS,
) -> list[Target]:
    """What a phase has left, traded over the whole test period at the true costs.

    Args:
        phase: 1 (its specialists as one portfolio), 2 or 3.
        folder: Of its models.
        config, instruments: Of the training.
        draws: Bootstrap samples behind every interval.
    """
    market = Market.build(config, instruments, "test")
    trained = load_trained(folder, config, instruments)
    for bars in market.bars:
        trained.check_bars(bars, folder)
    ledger = trade(trained, market)
    random = np.random.default_rng(config.training.seed)
    return _targets(ledger, LEVELS[phase], config.environment.max_portfolio_var, draws, random)


def _targets(
    ledger: Ledger,
    levels: Mapping[str, float],
    most_var: float | None,
    draws: int,
    random: np.random.Generator,
) -> list[Target]:
    outcomes = ledger.outcomes
    returns = outcomes[:, oc.SIMPLE_RETURN]
    per_year = periods_per_year(ledger.stamps)
    drawn = list(stationary_rows(len(returns), mean_block_bars(returns), draws, random))

    def over(measure: Callable[[Float], float]) -> tuple[float, tuple[float, float]]:
        found = np.array([measure(returns[rows]) for rows in drawn])
        return measure(returns), percentile_interval(found)

    def ratio(values: Float) -> float:
        return sharpe(values, per_year)

    def fall(values: Float) -> float:
        return max_drawdown(np.cumprod(1.0 + values, dtype=np.float64), 1.0)

    value, interval = over(ratio)
    targets = [Target("Sharpe ratio", True, levels["sharpe"], value, interval, False)]
    value, interval = over(fall)
    targets.append(Target("max drawdown", False, levels["drawdown"], value, interval, True))
    gains = round_trips(ledger)["profit"].to_numpy(dtype=np.float64)
    wins = np.array([win_rate(random.choice(gains, len(gains))) for _ in range(draws)])
    value, interval = win_rate(gains), percentile_interval(wins)
    targets.append(Target("win rate of trades", True, levels["win_rate"], value, interval, True))
    if "var" in levels and most_var is not None:
        bar_var = most_var * np.sqrt(252.0 / per_year)
        value, interval = over(lambda values: float(np.mean(values >= -bar_var)))
        name = "bars within the VaR limit"
        targets.append(Target(name, True, levels["var"], value, interval, True))
    return targets
