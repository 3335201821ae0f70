# SPDX-License-Identifier: Apache-2.0
"""A betting backtest: stated chances, staked and settled day by day on one bankroll.

Stakes are fractional Kelly, cut at the cap per bet and per day; `market/settlement.py` settles them
and writes one ledger row a day, read with the metrics of the trading side. All bets of a day are
placed on the bankroll of its beginning. Results that come after the next day's decisions are
booked up to a day early; only the sizes of later stakes know of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.evaluation import metrics
from mtquant.llm.evaluation.scores import DAY
from mtquant.llm.rewards.stakes import bet_columns, kelly_stakes
from mtquant.llm.tasks.config import BettingConfig
from mtquant.llm.tasks.task import Columns
from mtquant.market.settlement import LOST_SHARE, STAKE_OVER_CAP, WON_SHARE, Bankroll

Float = NDArray[np.float64]

DAYS_PER_YEAR = 365.25


class Ratio(NamedTuple):
    """Sums over rows of one divided by the other, float64 [M] each: a score that can be resampled
    by days. Money is booked on the first row of its day.
    """

    above: Float
    below: Float

    @property
    def value(self) -> float:
        """NaN over nothing."""
        below = float(self.below.sum())
        return float(self.above.sum()) / below if below else float("nan")


@dataclass(frozen=True, eq=False)
class BettingRun:
    """What a bankroll became.

    Attributes:
        stamps: int64 [D], days with games.
        outcomes: float64 [D, outcome columns], ledger rows.
        bets: Stakes placed.
        bet_days: Days with one.
        ratios: Scores that are means over bets, by name: ``roi``, profit over money staked, NaN
            without a bet; ``flat_roi``, the same with one unit on each bet, which does not depend
            on the bankroll; ``bet_hit_rate``, the share that won; ``closing_line_value``, the mean
            of odds x closing chance - 1: what the bets were worth at the last price, which is hard
            to beat by luck, NaN without closing odds.
        capped_days: Share of days on which a cap bound.
    """

    stamps: NDArray[np.int64]
    outcomes: Float
    bets: int
    bet_days: int
    ratios: Mapping[str, Ratio]
    capped_days: float

    def summary(self) -> dict[str, float]:
        """The figures of a report."""
        equity, first = self.outcomes[:, oc.EQUITY], self.outcomes[0, oc.EQUITY_BEFORE]
        returns = self.outcomes[:, oc.SIMPLE_RETURN]
        per_year = len(returns) / max(1.0, (self.stamps[-1] - self.stamps[0]) / DAY) * DAYS_PER_YEAR
        return {
            "bets": float(self.bets),
            **{name: ratio.value for name, ratio in self.ratios.items()},
            "bankroll_return": metrics.total_return(equity, float(first)),
            "bankroll_sharpe": metrics.sharpe(returns, per_year),
            "max_drawdown": metrics.max_drawdown(equity, float(first)),
            "capped_days": self.capped_days,
        }


def play_bets(
    chances: Float, columns: Columns, stamps: NDArray[np.int64], betting: BettingConfig
) -> BettingRun:
    """Stakes stated chances on one bankroll.

    Args:
        chances: float64 [M, K], in order of decision; M >= 1.
        columns: odds_k, result_k and, where there are closing odds, closing_k; [M] each.
        stamps: int64 [M], decisions, not falling.
        betting: Stakes, caps, bankroll.
    """
    odds, results = bet_columns(columns, chances.shape[1])
    fractions = kelly_stakes(chances, odds, betting)
    bankroll = Bankroll(
        betting.bankroll, betting.max_stake_frac, commission_frac=betting.commission_frac
    )
    days = np.flatnonzero(np.diff(stamps // DAY, prepend=-1))
    rows, capped = [], 0
    for first, last in zip(days, np.append(days[1:], len(stamps)), strict=True):
        wanted = fractions[first:last].ravel()
        scale = min(1.0, betting.max_day_frac / max(wanted.sum(), betting.max_day_frac))
        money = scale * wanted * bankroll.equity
        outcome, reasons = bankroll.settle(
            money, odds[first:last].ravel(), results[first:last].ravel().tolist()
        )
        rows.append(outcome)
        at_cap = (wanted >= betting.max_stake_frac).any() or (reasons == STAKE_OVER_CAP).any()
        capped += bool(scale < 1.0 or at_cap)
    outcomes = np.array(rows)
    placed = fractions > 0.0
    profit, staked = np.zeros((2, len(stamps)))
    profit[days] = outcomes[:, oc.EQUITY] - outcomes[:, oc.EQUITY_BEFORE]
    staked[days] = outcomes[:, oc.TURNOVER] * outcomes[:, oc.EQUITY_BEFORE]
    return BettingRun(
        stamps=stamps[days],
        outcomes=outcomes,
        bets=int(placed.sum()),
        bet_days=len(np.unique(stamps[placed.any(axis=1)] // DAY)),
        ratios={
            "roi": Ratio(profit, staked),
            "flat_roi": _over(_unit_profits(odds, results, betting), placed),
            "bet_hit_rate": _over(WON_SHARE[results] > 0.0, placed),
            "closing_line_value": _closing_value(odds, columns, placed),
        },
        capped_days=capped / len(days),
    )


def _unit_profits(odds: Float, results: NDArray[np.int64], betting: BettingConfig) -> Float:
    """Profit of a unit staked on each outcome, float64 [M, K]."""
    won = WON_SHARE[results] * (odds - 1.0) * (1.0 - betting.commission_frac)
    profits: Float = won - LOST_SHARE[results]
    return profits


def _closing_value(odds: Float, columns: Columns, placed: NDArray[np.bool_]) -> Ratio:
    """Mean closing-line value of the bets that have a closing price."""
    if "closing_0" not in columns:
        return _over(odds, np.zeros_like(placed))
    closing = np.column_stack([np.asarray(columns[f"closing_{k}"]) for k in range(odds.shape[1])])
    values = odds * closing - 1.0
    return _over(values, placed & np.isfinite(values))


def _over(values: NDArray[np.float64 | np.bool_], bets: NDArray[np.bool_]) -> Ratio:
    """The mean of values [M, K] over bets."""
    return Ratio(np.where(bets, values, 0.0).sum(axis=1), bets.sum(axis=1).astype(np.float64))
