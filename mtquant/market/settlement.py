# SPDX-License-Identifier: Apache-2.0
"""Settlement: stakes at decimal odds, won, lost or given back, and the ledger row that follows.

    bankroll = Bankroll(1_000.0, max_stake_frac=0.05)
    stake = bankroll.stake(kelly_fraction(0.55, 2.0, fraction=0.5))
    outcome, reasons = bankroll.settle([stake], [2.0], [RESULT_WIN])
    outcome[oc.GROWTH]  # log of what the bankroll has become: the reward

A row of `core/outcome.py` comes out, as from a bar of the desk, so rewards, metrics and reports
read bets and bars alike. All stakes of one call are placed on the same bankroll and settled at the
same time: one match day, one answer of a language model. In the row `equity` is the bankroll, `fee`
the exchange's commission on winnings, `turnover` the stakes over the bankroll, `gross` and `net` 0,
since nothing is open afterwards, `benchmark` 0: the alternative is not to bet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.errors import DataError
from mtquant.market.desk import EQUITY_FLOOR_FRAC, TAIL_SIGMAS, VARIANCE_DECAY
from mtquant.market.odds import require_odds

Float = NDArray[np.float64]

ROUNDING = 1e-12  # stakes that add up to the bankroll may exceed it by this share of it

RESULT_WIN = 0
RESULT_HALF_WIN = 1
RESULT_PUSH = 2
RESULT_VOID = 3
RESULT_HALF_LOSE = 4
RESULT_LOSE = 5
RESULT_TEXTS = {
    RESULT_WIN: "won",
    RESULT_HALF_WIN: "half won, half given back",
    RESULT_PUSH: "given back: the score fell on the line",
    RESULT_VOID: "given back: the event did not count",
    RESULT_HALF_LOSE: "half lost, half given back",
    RESULT_LOSE: "lost",
}
# Shares of the stake that win at the odds and that are lost, by result.
WON_SHARE = np.array([1.0, 0.5, 0.0, 0.0, 0.0, 0.0])
LOST_SHARE = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 1.0])

STAKE_DONE = 0
STAKE_OVER_CAP = 1
STAKE_OVER_BANKROLL = 2
STAKE_INVALID = 3
STAKE_BANKRUPT = 4
STAKE_TEXTS = {
    STAKE_DONE: "placed as asked",
    STAKE_OVER_CAP: "cut to the cap",
    STAKE_OVER_BANKROLL: "refused: more than the bankroll has left",
    STAKE_INVALID: "refused: no positive number",
    STAKE_BANKRUPT: "refused: the bankroll is ruined",
}


class Bankroll:
    """Money that is staked; one account of bets.

    Args:
        initial: Money at the start, > 0.
        max_stake_frac: Largest single stake, as a fraction of the bankroll; larger ones are cut.
        bankruptcy_frac: The bankroll is ruined at this fraction of the initial, as an account at
            `bankruptcy_equity_frac`; it takes no more stakes.
        commission_frac: Share of each bet's profit that an exchange keeps.

    Attributes:
        equity: Money now.
        peak: The most it has been.

    Raises:
        DataError: An argument out of its range.
    """

    def __init__(
        self,
        initial: float,
        max_stake_frac: float = 1.0,
        bankruptcy_frac: float = 0.01,
        commission_frac: float = 0.0,
    ) -> None:
        _require("initial bankroll", initial, 0.0, math.inf, "must be positive")
        _require("max_stake_frac", max_stake_frac, 0.0, 1.0, "must lie in (0, 1]")
        _require("bankruptcy_frac", bankruptcy_frac, 0.0, 1.0, "must lie in (0, 1]")
        if not 0.0 <= commission_frac < 1.0:
            remedy = "5 % is 0.05."
            raise DataError("commission_frac", "must lie in [0, 1)", commission_frac, remedy)
        self._initial, self._cap = initial, max_stake_frac
        self._ruin, self._kept = bankruptcy_frac * initial, 1.0 - commission_frac
        self.equity = self.peak = initial
        self._variance = 0.0

    @property
    def bankrupt(self) -> bool:
        """Whether it takes no more stakes."""
        return self.equity <= self._ruin

    def stake(self, fraction: float) -> float:
        """Money for a fraction of the bankroll, for example one of `kelly_fraction`."""
        return fraction * self.equity

    def settle(
        self, stakes: Sequence[float] | Float, odds: Sequence[float] | Float, results: Sequence[int]
    ) -> tuple[Float, NDArray[np.int64]]:
        """Places stakes in their order and settles them together.

        A stake of 0 is no bet. A refused stake leaves the bankroll as it was.

        Args:
            stakes: K amounts of money.
            odds: K decimal odds.
            results: K codes RESULT_*.

        Returns:
            The ledger row, float64 [len(OUTCOME_COLUMNS)], and one STAKE_* code per stake, int64
            [K].

        Raises:
            DataError: Arrays of different lengths, odds as in `require_odds`, unknown results.
        """
        asked, prices = np.asarray(stakes, dtype=np.float64), require_odds(np.asarray(odds))
        codes = np.asarray(results, dtype=np.int64)
        if asked.ndim != 1 or not asked.shape == prices.shape == codes.shape:
            shapes = (asked.shape, prices.shape, codes.shape)
            remedy = "Give one stake, one price and one result per bet."
            raise DataError("stakes, odds and results", "must be of one length", shapes, remedy)
        unknown = (codes < 0) | (codes >= len(RESULT_TEXTS))
        if unknown.any():
            remedy = f"Known: {RESULT_TEXTS}."
            raise DataError("result", "must be a RESULT_* code", int(codes[unknown][0]), remedy)
        placed, reasons = self._place(asked)
        won = placed * WON_SHARE[codes] * (prices - 1.0)
        fee = float((1.0 - self._kept) * won.sum())
        profit = float((won - placed * LOST_SHARE[codes]).sum()) - fee
        capped = bool((reasons == STAKE_OVER_CAP).any())
        return self._book(profit, fee, float(placed.sum()), capped), reasons

    def _place(self, asked: Float) -> tuple[Float, NDArray[np.int64]]:
        """What is staked of what was asked for, and why."""
        placed, reasons = np.zeros(len(asked)), np.zeros(len(asked), dtype=np.int64)
        cap, slack = self._cap * self.equity, 1.0 + ROUNDING
        left = self.equity * slack
        for k, wanted in enumerate(asked):
            if wanted == 0.0:
                continue
            if self.bankrupt:
                reasons[k] = STAKE_BANKRUPT
            elif not (math.isfinite(wanted) and wanted > 0.0):
                reasons[k] = STAKE_INVALID
            elif wanted > self.equity * slack or min(wanted, cap) > left:
                reasons[k] = STAKE_OVER_BANKROLL
            else:
                placed[k] = min(wanted, cap)
                reasons[k] = STAKE_OVER_CAP if wanted > cap * slack else STAKE_DONE
                left -= placed[k]
        return placed, reasons

    def _book(self, profit: float, fee: float, staked: float, capped: bool) -> Float:
        """Changes the bankroll and writes the row, column by column as the desk does."""
        before, row = self.equity, np.zeros(len(oc.OUTCOME_COLUMNS))
        self.equity = max(0.0, before + profit)  # rounding must not leave a debt
        self.peak = max(self.peak, self.equity)
        floor = EQUITY_FLOOR_FRAC * self._initial
        row[oc.EQUITY_BEFORE], row[oc.EQUITY] = before, self.equity
        row[oc.GROWTH] = math.log(max(self.equity, floor) / max(before, floor))
        simple = (self.equity - before) / max(before, floor)
        row[oc.SIMPLE_RETURN] = simple
        row[oc.FEE], row[oc.COST] = fee, fee / max(before, floor)
        row[oc.TURNOVER] = staked / max(before, floor)
        row[oc.DRAWDOWN] = 1.0 - self.equity / self.peak
        row[oc.TAIL_LOSS] = max(0.0, -simple - TAIL_SIGMAS * math.sqrt(self._variance))
        row[oc.BINDING] = oc.LIMIT_NAME if capped else 0
        row[oc.STATUS] = oc.STATUS_BANKRUPT if self.bankrupt else oc.STATUS_ACTIVE
        weight = 1.0 - VARIANCE_DECAY
        self._variance = VARIANCE_DECAY * self._variance + weight * simple * simple
        return row


def line_result(margin: float, line: float) -> int:
    """Result of a bet that `margin` + `line` ends above 0.

    For a handicap the margin is the own side's score minus the other's and the line what is added
    to it: -1.5 gives a goal and a half away. For "over", margin is the total and the line minus the
    bookmaker's total; "under" is both with the signs turned. A quarter line (Asian handicap) is two
    half stakes on the half lines beside it.

    Raises:
        DataError: A line that is no multiple of a quarter, or a margin that is no number.
    """
    if not (math.isfinite(margin) and math.isfinite(line) and (4.0 * line).is_integer()):
        remedy = "Lines go in quarters: -0.25, 0, 0.5."
        raise DataError("margin and line", "must be numbers, the line in quarters", line, remedy)
    lines = (line,) if (2.0 * line).is_integer() else (line - 0.25, line + 0.25)
    sides = [float(np.sign(margin + one)) for one in lines]
    results = {
        1.0: RESULT_WIN,
        0.5: RESULT_HALF_WIN,
        0.0: RESULT_PUSH,
        -0.5: RESULT_HALF_LOSE,
        -1.0: RESULT_LOSE,
    }
    return results[sum(sides) / len(sides)]


def kelly_fraction(chance: float, odds: float, fraction: float = 1.0, cap: float = 1.0) -> float:
    """Share of the bankroll whose growth is largest in the mean of logs, for one bet.

    (p o - 1) / (o - 1), or 0 where the odds do not pay for the chance (Kelly 1956, "A new
    interpretation of information rate"; Thorp 2006, "The Kelly criterion in blackjack, sports
    betting, and the stock market"). A part of it keeps more growth than risk: half of it has three
    quarters of the growth to second order.

    Args:
        chance: What one believes, in [0, 1].
        odds: Decimal odds.
        fraction: Part of the full stake, in (0, 1].
        cap: Largest stake, a share of the bankroll.
    """
    return float(kelly_fractions(np.array([chance]), np.array([odds]), fraction, cap)[0])


def kelly_fractions(chances: Float, odds: Float, fraction: float = 1.0, cap: float = 1.0) -> Float:
    """Shares of the bankroll on K outcomes that exclude each other, float64 [K].

    Smoczynski & Tomkins 2010, "An explicit solution to the problem of optimizing the allocations of
    a bettor's wealth when wagering on horse races": outcomes enter in the order of chance x odds as
    long as that exceeds the reserve R = (1 - sum p) / (1 - sum 1 / o) of those that entered, and
    get p - R / o. One outcome gives the formula of `kelly_fraction`.

    Args:
        chances: float64 [K], in [0, 1], adding up to at most 1: what is left is that none happens.
        odds: float64 [K], decimal.
        fraction: Part of the full stakes, in (0, 1].
        cap: Largest single stake, a share of the bankroll, in (0, 1].

    Raises:
        DataError: Chances that are none, odds as in `require_odds`, fraction or cap out of range.
    """
    chances, odds = np.asarray(chances, dtype=np.float64), require_odds(odds)
    _require("fraction", fraction, 0.0, 1.0, "must lie in (0, 1]")
    _require("cap", cap, 0.0, 1.0, "must lie in (0, 1]")
    valid = (chances >= 0.0) & (chances <= 1.0)
    if chances.shape != odds.shape or not valid.all() or chances.sum() > 1.0 + 1e-9:
        remedy = "Give one chance per price, together at most 1."
        raise DataError("chances", "must be chances of the outcomes", chances.tolist(), remedy)
    shares = np.zeros(len(odds))
    reserve, chosen = 1.0, np.zeros(len(odds), dtype=bool)
    for k in np.argsort(-chances * odds, kind="stable"):
        free = 1.0 - (1.0 / odds[chosen]).sum() - 1.0 / odds[k]
        # By arithmetic nothing enters without free > 0; by rounding it may.
        if chances[k] * odds[k] <= reserve or free <= 0.0:
            break
        chosen[k] = True
        reserve = max(0.0, 1.0 - chances[chosen].sum()) / free
    shares[chosen] = chances[chosen] - reserve / odds[chosen]
    return np.minimum(cap, fraction * np.maximum(0.0, shares))


def _require(name: str, value: float, low: float, high: float, rule: str) -> None:
    """Refuses what does not lie in (low, high]."""
    if not (low < value <= high and math.isfinite(value)):
        raise DataError(name, rule, value, "Correct the value.")
