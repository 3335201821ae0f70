# SPDX-License-Identifier: Apache-2.0
"""The targets of spec 003, measured on a ledger, each with an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import (
    calmar,
    max_drawdown,
    periods_per_year,
    sharpe,
    sortino,
    win_rate,
)
from mtquant.evaluation.sections import Section, between, number, percent
from mtquant.evaluation.significance.bootstrap import Interval, percentile_interval
from mtquant.evaluation.significance.paired import UNKNOWN, intervals
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import Tape
from mtquant.risk.limits import RISK_CORRELATION, RISK_DEVIATION

Float = NDArray[np.float64]
TRADING_DAYS_PER_YEAR = 252.0


@dataclass(frozen=True)
class Target:
    """One line of the table.

    Attributes:
        name: Of the metric.
        least: Whether it is to be at least `level`, else at most; None where nothing is asked.
        level: The target.
        measured: On the rows.
        interval: 95 % bootstrap interval of it; NaN where there is none.
        share: Shown in percent.
    """

    name: str
    least: bool | None
    level: float
    measured: float
    interval: Interval
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
        return percent(value) if self.share else number(value)


LEVELS: Mapping[int, Mapping[str, float]] = {
    1: {"sharpe": 1.5, "drawdown": 0.20, "win_rate": 0.55},
    2: {"sharpe": 1.8, "drawdown": 0.18, "win_rate": 0.60, "var": 0.95},
    3: {"sharpe": 2.0, "drawdown": 0.15, "win_rate": 0.65, "var": 0.98},
}
"""Spec 003, "Performance Targets"."""

# Key, name, at least or at most, shown in percent; in the order of the table.
METRICS: tuple[tuple[str, str, bool | None, bool], ...] = (
    ("sharpe", "Sharpe ratio", True, False),
    ("drawdown", "max drawdown", False, True),
    ("win_rate", "win rate of trades", True, True),
    ("var", "bars within the VaR limit", True, True),
    ("sortino", "Sortino ratio", None, False),
    ("calmar", "Calmar ratio", None, False),
    ("correlation", "bars within the correlation limit", None, True),
)


def figures(ledger: Ledger, rules: Rules, tape: Tape) -> dict[str, float]:
    """What a ledger shows of every key of `METRICS`; limits that are off are left out.

    Args:
        ledger: Of an account on `tape`.
        rules, tape: Under which it traded.
    """
    found = _over(ledger, rules)
    returns = ledger.column("simple_return")
    measured = {key: measure(returns) for key, measure in found.items()}
    measured["win_rate"] = win_rate(_gains(ledger))
    if np.isfinite(rules.max_correlation_exposure):
        held = correlation_exposure(ledger, rules, tape)
        measured["correlation"] = float(np.mean(held <= rules.max_correlation_exposure))
    return measured


def targets_of(
    phase: int, ledger: Ledger, rules: Rules, tape: Tape, draws: int, random: np.random.Generator
) -> list[Target]:
    """Targets of a phase, and what is measured beside them, with intervals.

    Args:
        phase: 1, 2 or 3.
        ledger, rules, tape: As `figures`.
        draws: Bootstrap samples behind every interval.
        random: Where they come from.
    """
    measured, levels = figures(ledger, rules, tape), LEVELS[phase]
    measures = _over(ledger, rules)
    returns = ledger.column("simple_return")[:, None]

    def all_of(drawn: Float) -> Float:
        return np.array([measure(drawn[:, 0]) for measure in measures.values()])

    ends = dict(zip(measures, intervals(returns, all_of, draws, random), strict=True))
    gains = _gains(ledger)
    ends["win_rate"] = percentile_interval(
        np.array([win_rate(random.choice(gains, len(gains))) for _ in range(draws)])
    )
    return [
        Target(
            name,
            least if key in levels else None,
            levels.get(key, float("nan")),
            measured[key],
            ends.get(key, UNKNOWN),
            share,
        )
        for key, name, least, share in METRICS
        if key in measured and (phase > 1 or key not in ("var", "correlation"))
    ]


def correlation_exposure(ledger: Ledger, rules: Rules, tape: Tape) -> Float:
    """max_i |sum_j rho_ij w_j| of the book held at every close, float64 [T] (docs/risk.md)."""
    multipliers = np.array(ledger.multipliers)
    notional = ledger.positions * np.nan_to_num(ledger.prices * ledger.rates) * multipliers
    weights = notional / ledger.equity[:, None]
    count = weights.shape[1]
    rows = tape.risk(rules.var_method).rows[ledger.rows]
    known = np.isfinite(rows[:, RISK_DEVIATION])  # the deviation of an unknown risk is infinite
    correlation = np.nan_to_num(rows[:, RISK_CORRELATION : RISK_CORRELATION + count])
    carried = np.einsum("tij,tj->ti", correlation, np.where(known, weights, 0.0))
    found: Float = np.abs(carried).max(axis=1)
    return found


def targets_section(title: str, targets: Sequence[Target]) -> Section:
    """Target, measured, interval, met or not."""
    words = {None: "-", True: "yes", False: "no"}
    rows = tuple(
        (
            target.name,
            target.bound,
            target.text(target.measured),
            between(target.interval, target.text),
            words[target.met],
        )
        for target in targets
    )
    headings = ("metric", "target", "measured", "95 % interval", "met")
    note = "met: the whole interval lies on the right side; a target missed is a result"
    return Section(title, headings, rows, (note,))


def _over(ledger: Ledger, rules: Rules) -> dict[str, Callable[[Float], float]]:
    """Key -> measure of simple returns per bar."""
    per_year = periods_per_year(ledger.stamps)

    def path(returns: Float) -> Float:
        grown: Float = np.cumprod(1.0 + returns, dtype=np.float64)
        return grown

    measures: dict[str, Callable[[Float], float]] = {
        "sharpe": lambda returns: sharpe(returns, per_year),
        "drawdown": lambda returns: max_drawdown(path(returns), 1.0),
        "sortino": lambda returns: sortino(returns, per_year),
        "calmar": lambda returns: calmar(path(returns), 1.0, per_year),
    }
    if np.isfinite(rules.max_portfolio_var):
        of_bar = rules.max_portfolio_var * np.sqrt(TRADING_DAYS_PER_YEAR / per_year)
        measures["var"] = lambda returns: float(np.mean(returns >= -of_bar))
    return measures


def _gains(ledger: Ledger) -> Float:
    """Profit of every closed round trip."""
    return round_trips(ledger)["profit"].to_numpy(dtype=np.float64)
