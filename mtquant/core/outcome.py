# SPDX-License-Identifier: Apache-2.0
"""The ledger's row per decision (the Outcome), the row per fill, and every code that appears in
them.

Rewards, metrics, the vectorbt audit, the dashboard and recovery read these columns and nothing
else. Kernels address them by the integer constants, everybody else by name.

Outcome, float64 ``[len(OUTCOME_COLUMNS)]``, money in the account currency:

    equity_before   equity when the decision was made (close of the bar before)
    equity          equity at this bar's close
    growth          log(equity / equity_before), floored at bankruptcy; sums to log(final / initial)
    simple_return   equity / equity_before - 1
    benchmark       equal-weight simple return of the instruments that traded, close to close
    fee             commission paid during the bar, >= 0
    slippage        half spread and slippage paid during the bar, >= 0
    financing       overnight cost; negative when the account was paid
    cost            (fee + slippage) / equity_before
    turnover        traded notional / equity_before
    drawdown        1 - equity / peak
    tail_loss       max(0, -simple_return - 1.645 sigma), sigma the EWMA volatility known before the
                    bar
    gross, net      sum of |exposure| and of exposure at the close, in units of equity
    margin_use      used margin / equity
    binding         bit mask of the limits that bound in the plan (LIMIT_*)
    status          STATUS_*
    diversification 1 - (sigma / sum of |exposure| sigma_i)^2 of the book at the close, sigma its
                    volatility and sigma_i its instruments' as known when the decision was made; 0
                    for a flat book, one instrument, a risk that is unknown, and where neither a
                    limit (ledgers) nor the reward (training) asks for risks
"""

from __future__ import annotations

OUTCOME_COLUMNS = (
    "equity_before",
    "equity",
    "growth",
    "simple_return",
    "benchmark",
    "fee",
    "slippage",
    "financing",
    "cost",
    "turnover",
    "drawdown",
    "tail_loss",
    "gross",
    "net",
    "margin_use",
    "binding",
    "status",
    "diversification",
)
(
    EQUITY_BEFORE,
    EQUITY,
    GROWTH,
    SIMPLE_RETURN,
    BENCHMARK,
    FEE,
    SLIPPAGE,
    FINANCING,
    COST,
    TURNOVER,
    DRAWDOWN,
    TAIL_LOSS,
    GROSS,
    NET,
    MARGIN_USE,
    BINDING,
    STATUS,
    DIVERSIFICATION,
) = range(len(OUTCOME_COLUMNS))

STATUS_ACTIVE = 0
STATUS_BANKRUPT = 1
STATUS_TEXTS = {STATUS_ACTIVE: "active", STATUS_BANKRUPT: "bankrupt: equity fell to the floor"}

LIMIT_NAME = 1
LIMIT_GROSS = 2
LIMIT_NET = 4
LIMIT_SECTOR = 8
LIMIT_CORRELATION = 16
LIMIT_VAR = 32
LIMIT_VOLATILITY = 64
LIMIT_TURNOVER = 128
LIMIT_UNKNOWN = 256
LIMIT_GUARD = 512
LIMIT_TEXTS = {
    LIMIT_NAME: "name cap",
    LIMIT_GROSS: "gross cap",
    LIMIT_NET: "net cap",
    LIMIT_SECTOR: "sector cap",
    LIMIT_CORRELATION: "correlation exposure",
    LIMIT_VAR: "portfolio value at risk",
    LIMIT_VOLATILITY: "portfolio volatility",
    LIMIT_TURNOVER: "turnover cap",
    LIMIT_UNKNOWN: "risk of an instrument unknown: no exposure",
    LIMIT_GUARD: "guard: only trades that reduce, or none",
}

# A fill, float64 [len(FILL_COLUMNS)]. quantity is signed units of the instrument; 0 means refused,
# and `reason` says why.
FILL_COLUMNS = (
    "row",  # panel row whose bar (or, with fill_at close, whose closing price) it happened on
    "instrument",  # column of the panel
    "origin",  # ORIGIN_*
    "wanted",  # quantity ordered
    "quantity",  # quantity done
    "reference",  # mid price it was filled against, quote currency
    "price",  # price paid or received, half spread and slippage included
    "rate",  # account currency per unit of quote currency
    "fee",  # account currency
    "slippage",  # account currency
    "reason",  # REASON_*
)
(
    FILL_ROW,
    FILL_INSTRUMENT,
    FILL_ORIGIN,
    FILL_WANTED,
    FILL_QUANTITY,
    FILL_REFERENCE,
    FILL_PRICE,
    FILL_RATE,
    FILL_FEE,
    FILL_SLIPPAGE,
    FILL_REASON,
) = range(len(FILL_COLUMNS))

ORIGIN_ORDER = 0
ORIGIN_STOP_LOSS = 1
ORIGIN_TAKE_PROFIT = 2
ORIGIN_LIQUIDATION = 3
ORIGIN_ADOPTED = 4
ORIGIN_TEXTS = {
    ORIGIN_ORDER: "order",
    ORIGIN_STOP_LOSS: "stop-loss",
    ORIGIN_TAKE_PROFIT: "take-profit",
    ORIGIN_LIQUIDATION: "liquidation",
    ORIGIN_ADOPTED: "adopted: found at the broker",
}

REASON_DONE = 0
REASON_SHRUNK_BY_MARGIN = 1
REASON_REFUSED_BY_MARGIN = 2
REASON_MARKET_CLOSED = 3
REASON_PRICE_UNKNOWN = 4
REASON_SHRUNK_BY_VOLUME = 5
REASON_REFUSED_BY_VOLUME = 6
REASON_PARTIAL = 7
REASON_REJECTED = 8
REASON_NOT_SENT = 9
REASON_TEXTS = {
    REASON_DONE: "filled as ordered",
    REASON_SHRUNK_BY_MARGIN: "filled in part: free margin ended",
    REASON_REFUSED_BY_MARGIN: "refused: no free margin for one lot",
    REASON_MARKET_CLOSED: "refused: the market had no bar",
    REASON_PRICE_UNKNOWN: "refused: price or conversion rate missing or not positive",
    REASON_SHRUNK_BY_VOLUME: "filled in part: too little volume in the bar",
    REASON_REFUSED_BY_VOLUME: "refused: too little volume in the bar for one lot",
    REASON_PARTIAL: "filled in part by the broker",
    REASON_REJECTED: "refused: the broker rejected it",
    REASON_NOT_SENT: "refused: never reached the broker, too late to send it",
}
