# SPDX-License-Identifier: Apache-2.0
"""What a backtest allows one to say, in plain words and in a fixed order.

The order is the point: what the evidence amounts to, and why, comes before any number. Whether the
policy traded at all is asked first, then whether the interval of its Sharpe ratio leaves 0 out,
then whether luck among all that was tried, or the market itself, would show as much. A Sharpe ratio
comes only with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mtquant.core.outcome import STATUS_BANKRUPT
from mtquant.evaluation.comparison import Comparison, against_baselines
from mtquant.evaluation.significance.bootstrap import SharpeEstimate
from mtquant.evaluation.significance.deflation import deflated_sharpe, minimum_backtest_years
from mtquant.evaluation.significance.tried import Tried
from mtquant.evaluation.summary import summarize
from mtquant.market.ledger import Ledger

MIN_TIME_IN_MARKET = 0.02  # share of bars
MIN_MEAN_GROSS = 0.02  # units of equity
BARS_PER_TURN = 250  # one turn of the book is asked for per so many bars, and at least one in all
CONFIDENCE = 0.95  # of the deflated Sharpe ratio
LONG_YEARS = 100.0  # longer than anybody's history


class Grade(StrEnum):
    """What the evidence amounts to."""

    EVIDENCE = "evidence"
    WEAK = "weak evidence"
    NONE = "no evidence"
    LOSS = "evidence of a loss"


OPENINGS = {
    Grade.EVIDENCE: "Evidence of an edge",
    Grade.WEAK: "Weak evidence of an edge",
    Grade.NONE: "No evidence of edge",
    Grade.LOSS: "Evidence of a loss",
}


@dataclass(frozen=True)
class Assessment:
    """A grade with its reason.

    Attributes:
        grade: What the evidence amounts to.
        reason: Why, the rest of a sentence without its full stop.
    """

    grade: Grade
    reason: str

    @property
    def sentence(self) -> str:
        """Grade and reason."""
        return f"{OPENINGS[self.grade]}: {self.reason}."


@dataclass(frozen=True)
class Verdict:
    """The first lines of every report.

    Attributes:
        lines: Sentences in the order in which they must be read.
        hardly_trades: The policy trades too little for its ratios to mean anything.
        sharpe: Sharpe ratio per year with its interval.
        deflated: Probability that it is above what luck gives the best of all tries; NaN if they
            are not on record.
        assessment: The grade and why.
    """

    lines: tuple[str, ...]
    hardly_trades: bool
    sharpe: SharpeEstimate
    deflated: float
    assessment: Assessment


def verdict(
    ledger: Ledger, seed: int = 0, tried: Tried | None = None, baselines: Sequence[Ledger] = ()
) -> Verdict:
    """Judges one ledger.

    Args:
        ledger: At least one bar.
        seed: Draws the intervals.
        tried: What was looked at before this policy was chosen; None if nobody kept a record.
        baselines: Ledgers of baselines on the same bars.

    Raises:
        RunError: The ledger has no bars.
    """
    compared = against_baselines(ledger, baselines, seed)
    return judge(ledger, summarize(ledger, seed), tried, compared)


def judge(
    ledger: Ledger,
    summary: dict[str, float],
    tried: Tried | None,
    compared: Comparison | None,
    reservations: Sequence[str] = (),
) -> Verdict:
    """`verdict` for a ledger whose `summarize` and `against_baselines` are at hand already.

    Args:
        ledger, tried: As for `verdict`.
        summary, compared: What is at hand.
        reservations: Further reasons not to call anything evidence; each is a line too.
    """
    turns = book_turns(summary)
    hardly = (
        summary["time_in_market"] < MIN_TIME_IN_MARKET
        or summary["mean_gross"] < MIN_MEAN_GROSS
        or turns < max(1.0, summary["bars"] / BARS_PER_TURN)
    )
    found = _estimate(summary)
    deflated = _deflated(summary, found, tried)
    bankrupt = bool(np.any(ledger.column("status") == STATUS_BANKRUPT))
    if hardly:
        judged = Assessment(Grade.NONE, "too few trades for any ratio to be about its decisions")
    elif bankrupt:
        judged = Assessment(Grade.NONE, "the account went bankrupt")
    else:
        judged = assess(found, deflated, tried, [*_objections(ledger, compared), *reservations])
    lines = [_trading_line(summary, turns)] if hardly else []
    if bankrupt:
        lines.append("The account went bankrupt: its figures end on that bar.")
    lines += [judged.sentence, _return_line(summary), _sharpe_line(found)]
    lines += _tried_lines(found, deflated, tried)
    if ledger.fill_at == "close":
        lines.append("Optimistic: orders filled at the same close they were decided on.")
    lines += [f"Beware: {reason}." for reason in reservations]
    return Verdict((*lines, *ledger.notes), hardly, found, deflated, judged)


def assess(
    found: SharpeEstimate, deflated: float, tried: Tried | None, objections: Sequence[str] = ()
) -> Assessment:
    """The grade of a Sharpe ratio.

    Evidence needs an interval above 0 and a deflated probability of 95 %; what falls short of the
    latter, or meets another objection, is weak.

    Args:
        found: The ratio with its interval.
        deflated: From `deflated_sharpe`; NaN if it could not be computed.
        tried: What was looked at; None if not on record.
        objections: Further reasons not to call it evidence.
    """
    if np.isnan(found.low):
        return Assessment(Grade.NONE, "too few bars, or no variance, for an interval")
    if found.high < 0.0:
        return Assessment(Grade.LOSS, "the whole interval of the Sharpe ratio lies below 0")
    if not found.low > 0.0:
        return Assessment(Grade.NONE, "the interval of the Sharpe ratio holds 0")
    above = "the interval of the Sharpe ratio lies above 0"
    doubts = list(objections)
    best = "" if tried is None else f"the best of {_count(tried)}"
    if tried is None:
        doubts.insert(0, "nobody kept a record of what else was tried")
    elif not deflated >= CONFIDENCE:
        doubts.insert(0, f"{best} may look like that by luck alone")
    if doubts:
        return Assessment(Grade.WEAK, f"{above}, but {'; and '.join(doubts)}")
    return Assessment(Grade.EVIDENCE, f"{above}, and luck does not explain it as {best}")


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


def _estimate(summary: dict[str, float]) -> SharpeEstimate:
    names = ("sharpe", "sharpe_low", "sharpe_high", "sharpe_error")
    ratio, low, high, error = (summary[name] for name in names)
    bars, years = int(summary["bars"]), summary["periods_per_year"]
    return SharpeEstimate(ratio, low, high, error, bars, years)


def _deflated(summary: dict[str, float], found: SharpeEstimate, tried: Tried | None) -> float:
    if tried is None:
        return float("nan")
    return deflated_sharpe(found, summary["skewness"], summary["kurtosis"], tried.effective)


def _objections(ledger: Ledger, compared: Comparison | None) -> list[str]:
    objections = []
    if compared is not None and not compared.better:
        objections.append(f"it is not shown to be better than {compared.baseline}")
    if ledger.fill_at == "close":
        objections.append("orders filled at the close they were decided on")
    return objections


def _count(tried: Tried) -> str:
    if tried.trials == 1:
        return "1 try"
    return f"{tried.trials:,} tries (worth {tried.effective:,.1f} independent ones)"


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
    annual, fall = summary["annual_return"], summary["max_drawdown"]
    yearly = "" if np.isnan(annual) else f" ({_gain(annual)} a year)"
    return f"Total return {_gain(summary['total_return'])}{yearly}, largest fall {fall:.1%}."


def _gain(value: float) -> str:
    """With its sign, unless it rounds to 0."""
    return f"{value:+z.1%}".replace("+0.0%", "0.0%")


def _sharpe_line(found: SharpeEstimate) -> str:
    if np.isnan(found.ratio):
        return "Sharpe ratio undefined: the returns do not vary."
    if np.isnan(found.low):
        return "Sharpe ratio not shown: too few bars for an interval."
    return f"Sharpe ratio {found.ratio:z.2f}, 95 % interval {found.low:z.2f} to {found.high:z.2f}."


def _tried_lines(found: SharpeEstimate, deflated: float, tried: Tried | None) -> list[str]:
    if tried is None or np.isnan(deflated):
        return []
    lines = [
        f"Deflated for {_count(tried)}: the ratio is above what luck alone gives the best of them"
        f" with a probability of {deflated:.1%}; evidence asks for {CONFIDENCE:.0%}."
    ]
    years = found.bars / found.periods_per_year
    needed = minimum_backtest_years(tried.effective, found.ratio)
    if needed > years:
        span = f"within {needed:.1f} years" if needed <= LONG_YEARS else "over any span of years"
        lines.append(
            f"Too short for that many tries: luck alone is expected to reach this ratio {span},"
            f" and these are {years:.1f}."
        )
    return lines
