# SPDX-License-Identifier: Apache-2.0
"""Reward terms: each is `(state, outcome) -> (state, value)` in one compiled function.

`outcome` is a ledger row (`core/outcome.py`), so the same function scores a PPO step and a language
model's bet. `state` is the term's own slice of a float64 vector, changed in place; it is
dimensionless, part of the observation and of the checkpoint. `parameters` is the vector of
`compose.py` (P_*). Returns are measured in units of `scale`, a fixed number taken from the training
rows (the standard deviation of one bar at the largest position), so that every term is of order
one.

There are no branches inside a term: the training loop evaluates many accounts at once with vector
instructions, and a select costs it less than a jump. Rows without NaN give values without NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.core.compiled import kernel

Float = NDArray[np.float64]

PARAMETERS = 8
(
    P_UNIT,  # 1 / scale, the return of one bar that counts as 1
    P_SHARPE_RATE,  # adaptation rate eta of the differential ratios
    P_RISK_FREE,  # simple return per bar that returns are measured above
    P_ACTIVE,  # 1 where the differential ratio is measured above the benchmark, else 0
    P_DOWNSIDE,  # 1 where the differential ratio counts losses alone as risk, else 0
    P_DRAWDOWN_TARGET,  # drawdown up to which nothing is taken off, fraction of the peak
    P_RISK_PRICE,  # twice what a variance of scale^2 costs per bar, in units of scale
    P_MORE,  # 1 where a term behind `compose.CORE_TERMS` has a weight, else 0
) = range(PARAMETERS)

# In units of scale^2; keeps a ratio finite while the account has hardly moved.
LEAST_VARIANCE = 0.01


@kernel
def growth(state: Float, outcome: Float, parameters: Float) -> float:
    """log(equity / equity before) / scale; net of every cost. Without state.

    Times `scale`, it sums to the log of final over initial equity.
    """
    return outcome[oc.GROWTH] * parameters[P_UNIT]


@kernel
def differential_ratio(state: Float, outcome: Float, parameters: Float) -> float:
    """What this bar adds to an exponentially weighted mean over deviation, per unit of its
    adaptation rate.

    Moody & Saffell 2001, "Learning to trade via direct reinforcement", eq. (14) and the
    differential downside deviation ratio of the same paper, in one form:
    D = (B dA - A dB / 2) / V^(3/2), dA = R - A, dB = Q - B. State: A and B, the running means of R
    and Q; they start at 0 and 1, those of a driftless account. P_ACTIVE and P_DOWNSIDE choose

        differential_sharpe        R = (simple return - risk free) / scale    Q = R^2
        differential_information   R = (simple return - benchmark) / scale    Q = R^2
        differential_sortino       R as for Sharpe                            Q = 2 min(R, 0)^2

    and V = B - A^2, but V = B for Sortino. The factor 2 makes Sortino and Sharpe the same for
    returns that are symmetric around 0. Being out of a falling market gains on the benchmark, so
    the information ratio pays for it. Of a portfolio's outcome the Sharpe ratio is the portfolio's,
    phase 2's reward.
    """
    above = parameters[P_RISK_FREE] + parameters[P_ACTIVE] * outcome[oc.BENCHMARK]
    gain = (outcome[oc.SIMPLE_RETURN] - above) * parameters[P_UNIT]
    loss, rate, downside = min(gain, 0.0), parameters[P_SHARPE_RATE], parameters[P_DOWNSIDE]
    square = gain * gain
    square += downside * (2.0 * loss * loss - square)
    first, second = state[0], state[1]
    change_first, change_second = gain - first, square - second
    variance = max(second - (1.0 - downside) * first * first, LEAST_VARIANCE)
    state[0] = first + rate * change_first
    state[1] = second + rate * change_second
    return (second * change_first - 0.5 * first * change_second) / (variance * np.sqrt(variance))


@kernel
def drawdown(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus the growth of the worst drawdown beyond the target, / scale. State: worst excess so
    far.

    Its sum over an episode is minus max(0, maximum drawdown - target) / scale.
    """
    excess = max(0.0, outcome[oc.DRAWDOWN] - parameters[P_DRAWDOWN_TARGET])
    worse = max(0.0, excess - state[0])
    state[0] += worse
    return -worse * parameters[P_UNIT]


@kernel
def tail_loss(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus the part of the bar's loss beyond its 95 % value at risk, / scale. Without state.

    Its mean is 5 % of the distance from value at risk to expected shortfall (CVaR; Rockafellar &
    Uryasev 2000, "Optimization of conditional value-at-risk"): 0.021 scale for normal
    returns at the largest position.
    """
    return -outcome[oc.TAIL_LOSS] * parameters[P_UNIT]


@kernel
def variance(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus half the price of risk times the squared return in units of scale. Without state.

    Markowitz' mean-variance utility, bar by bar. The price is `sharpe_target` per bar, at which a
    strategy of exactly that Sharpe ratio gains most at the largest position: with weight 1, growth
    mu and volatility sigma at the largest position, w mu - price w^2 sigma / 2 is largest at
    w = (mu / sigma) / price.
    """
    r = outcome[oc.SIMPLE_RETURN] * parameters[P_UNIT]
    return -0.5 * parameters[P_RISK_PRICE] * r * r


@kernel
def downside_variance(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus the price of risk times the squared loss in units of scale. Without state.

    `variance` of losses alone (Markowitz 1959, semivariance), twice as dear, so that both cost the
    same where gains and losses are symmetric.
    """
    loss = min(outcome[oc.SIMPLE_RETURN], 0.0) * parameters[P_UNIT]
    return -parameters[P_RISK_PRICE] * loss * loss


@kernel
def diversification(state: Float, outcome: Float, parameters: Float) -> float:
    """Half the price of risk times the squared return in units of scale, times the share of the
    variance that is spread over independent bets. Without state.

    That share, the column `diversification`, is 1 - 1/D with D the squared diversification ratio
    (Choueifaty, Froidure & Reynier 2013, "Properties of the most diversified portfolio": the
    number of independent bets). So it gives back what `variance` charges for risk that is spread,
    never more than that, and pays nothing for one bet, for no bet, or for a book that is hedged
    until it has no risk.
    """
    r = outcome[oc.SIMPLE_RETURN] * parameters[P_UNIT]
    return 0.5 * parameters[P_RISK_PRICE] * r * r * outcome[oc.DIVERSIFICATION]


@kernel
def cost(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus commission, spread and slippage of the bar, fraction of equity, / scale. Without state.

    `growth` is net of costs already: this counts them once more.
    """
    return -outcome[oc.COST] * parameters[P_UNIT]


@kernel
def turnover(state: Float, outcome: Float, parameters: Float) -> float:
    """Minus traded notional over equity, / scale. Without state.

    Its weight is the price of trading one equity, a fraction: 0.0001 is one basis point.
    """
    return -outcome[oc.TURNOVER] * parameters[P_UNIT]
