# SPDX-License-Identifier: Apache-2.0
"""What a backtest allows one to say, in plain words and in a fixed order.

The order is the point: whether the policy traded at all comes before any ratio, then what the
evidence amounts to, then the numbers. A Sharpe ratio comes only with its interval, and an interval
that holds zero is no evidence, however large the ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtquant.core.outcome import STATUS_BANKRUPT
from mtquant.evaluation.metrics import periods_per_year, sharpe, sharpe_interval, summarize
from mtquant.market.ledger import Ledger

MIN_TIME_IN_MARKET = 0.02  # share of bars
MIN_MEAN_GROSS = 0.02  # units of equity
BARS_PER_TURN = 250  # one turn of the book is asked for per so many bars, and at least one in all

TOO_FEW_TRADES = "no evidence of edge: too few trades to judge"
NO_EDGE = "no evidence of edge"
LOSS = "evidence of a loss"
SOME_EDGE = "some evidence of edge"

EVIDENCE_TEXTS = {
    TOO_FEW_TRADES: "No evidence of edge: too few trades for any ratio to be about its decisions.",
    NO_EDGE: "No evidence of edge.",
    LOSS: "Evidence of a loss: the whole interval of the Sharpe ratio lies below zero.",
    SOME_EDGE: "Some evidence of a return above zero, on one period and one seed; not proof.",
}


@dataclass(frozen=True)
class Verdict:
    """The first lines of every report.

    Attributes:
        lines: Sentences in the order in which they must be read.
        hardly_trades: The policy trades too little for its ratios to mean anything.
        sharpe: Sharpe ratio per year; NaN if undefined.
        interval: 95 % bootstrap interval of it; (NaN, NaN) if undefined.
        evidence: One of the keys of `EVIDENCE_TEXTS`.
    """

    lines: tuple[str, ...]
    hardly_trades: bool
    sharpe: float
    interval: tuple[float, float]
    evidence: str


def verdict(ledger: Ledger, seed: int = 0) -> Verdict:
    """Judges one ledger; the seed draws the Sharpe interval.

    Raises:
        RunError: The ledger has no bars.
    """
    return judge(ledger, summarize(ledger, seed))


def judge(ledger: Ledger, summary: dict[str, float]) -> Verdict:
    """`verdict` for a ledger whose `summarize` is at hand already."""
    turns = book_turns(summary)
    hardly = (
        summary["time_in_market"] < MIN_TIME_IN_MARKET
        or summary["mean_gross"] < MIN_MEAN_GROSS
        or turns < max(1.0, summary["bars"] / BARS_PER_TURN)
    )
    interval = (summary["sharpe_low"], summary["sharpe_high"])
    evidence = _evidence(hardly, interval)
    lines = [_trading_line(summary, turns)] if hardly else []
    if np.any(ledger.column("status") == STATUS_BANKRUPT):
        lines.append("The account went bankrupt: its figures end on that bar.")
    lines += [EVIDENCE_TEXTS[evidence], _return_line(summary), _sharpe_line(summary)]
    if ledger.fill_at == "close":
        lines.append("Optimistic: orders filled at the same close they were decided on.")
    return Verdict((*lines, *ledger.notes), hardly, summary["sharpe"], interval, evidence)


def against_baselines(policy: Ledger, baselines: Sequence[Ledger], seed: int = 0) -> list[str]:
    """One sentence on whether the policy did better than the best baseline did.

    A return above zero may be the market's. The policy is brought to the volatility of the baseline
    with the highest Sharpe ratio, and the ratio of the differences of their returns is judged by
    the same bootstrap. No sentence where there is nothing to compare: other bars, no variance.
    """
    years = periods_per_year(policy.stamps)
    mine = policy.column("simple_return")
    ratios = {
        run.name: (sharpe(run.column("simple_return"), years), run)
        for run in baselines
        if len(run) == len(policy) and bool((run.stamps == policy.stamps).all())
    }
    known = {name: pair for name, pair in ratios.items() if np.isfinite(pair[0])}
    if not known or not mine.std() > 0.0:
        return []
    name, (_, best) = max(known.items(), key=lambda item: item[1][0])
    theirs = best.column("simple_return")
    difference = mine * (theirs.std() / mine.std()) - theirs
    low, high = sharpe_interval(difference, years, seed)
    ratio = sharpe(difference, years)
    if not np.isfinite([low, high, ratio]).all():
        return []
    judged = "better than it" if low > 0.0 else "worse than it" if high < 0.0 else "no evidence"
    return [
        f"At equal volatility against {name}, the best baseline by Sharpe ratio: {judged}"
        f" (ratio of the difference {ratio:.2f}, 95 % interval {low:.2f} to {high:.2f})."
    ]


def book_turns(summary: dict[str, float]) -> float:
    """How many times the policy bought and sold its average book.

    ``total turnover / (2 * mean gross exposure while in the market)``: a round trip of the whole
    book counts 1, buying and holding counts one half, and a policy that rebalances but is never
    flat is not mistaken for one that does nothing.

    Returns:
        The number; 0 if it never held a position at a close.
    """
    held_bars = summary["time_in_market"] * summary["bars"]
    gross_sum = summary["mean_gross"] * summary["bars"]
    if not (held_bars > 0 and gross_sum > 0):
        return 0.0
    return summary["turnover_per_bar"] * summary["bars"] / (2.0 * gross_sum / held_bars)


def _evidence(hardly: bool, interval: tuple[float, float]) -> str:
    if hardly:
        return TOO_FEW_TRADES
    if interval[0] > 0.0:
        return SOME_EDGE
    return LOSS if interval[1] < 0.0 else NO_EDGE


def _trading_line(summary: dict[str, float], turns: float) -> str:
    if summary["fills"] == 0:
        return f"It never traded: not one fill in {summary['bars']:,.0f} bars."
    return (
        f"It hardly trades: {summary['fills']:,.0f} fills in {summary['bars']:,.0f} bars,"
        f" in the market on {summary['time_in_market']:.1%} of them,"
        f" mean gross exposure {summary['mean_gross']:.1%} of equity,"
        f" average book turned {turns:.1f} times. Asked for: {MIN_TIME_IN_MARKET:.0%} of bars,"
        f" {MIN_MEAN_GROSS:.0%} of equity, one turn per {BARS_PER_TURN} bars."
    )


def _return_line(summary: dict[str, float]) -> str:
    yearly = (
        "" if np.isnan(summary["annual_return"]) else f" ({summary['annual_return']:+.1%} a year)"
    )
    total, fall = summary["total_return"], summary["max_drawdown"]
    return f"Total return {total:+.1%}{yearly}, largest fall {fall:.1%}."


def _sharpe_line(summary: dict[str, float]) -> str:
    if np.isnan(summary["sharpe"]):
        return "Sharpe ratio undefined: the returns do not vary."
    if np.isnan(summary["sharpe_low"]):
        return "Sharpe ratio not shown: too few bars for an interval."
    value, low, high = (summary[key] for key in ("sharpe", "sharpe_low", "sharpe_high"))
    return f"Sharpe ratio {value:z.2f}, 95 % interval {low:z.2f} to {high:z.2f}."
