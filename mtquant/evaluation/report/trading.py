# SPDX-License-Identifier: Apache-2.0
"""Chapters on what was held and traded, what the limits did, and what it cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtquant.core.outcome import FILL_INSTRUMENT, FILL_QUANTITY, LIMIT_TEXTS
from mtquant.evaluation.book_risk import MIN_BARS
from mtquant.evaluation.report import charts, study_charts
from mtquant.evaluation.report.cells import (
    SHARPE_UNIT,
    count,
    money,
    percent,
    probability,
    quantity,
    ratio,
)
from mtquant.evaluation.report.document import (
    Block,
    Cell,
    Chapter,
    Estimate,
    Figure,
    Number,
    Table,
    Text,
    table_of,
)
from mtquant.evaluation.report.findings import Findings
from mtquant.evaluation.significance.exceedances import Coverage
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger

LAST_TRIPS = 200
EXTREME_TRIPS = 5
SIGNIFICANT = 0.05


def positions(found: Findings) -> Chapter:
    """Where the money was: heat map, then every instrument with its trades, then round trips."""
    run = found.policy
    blocks: list[Block] = [
        Figure(
            "Allocation",
            f"Exposure of {', '.join(run.symbols)} over time, in units of equity.",
            charts.allocation_chart(run),
            "Share of equity at the close; blue is long, red is short.",
        )
    ]
    for n, symbol in enumerate(run.symbols):
        says = f"Close of {symbol} with buys, sells and stops, and the units held below."
        blocks.append(Figure(symbol, says, charts.instrument_chart(run, symbol), _drawn(run, n)))
    turnover, period = charts.turnover_chart(run)
    says = f"Traded notional over equity, summed by {period}."
    blocks.append(Figure(f"Turnover by {period}", says, turnover))
    return Chapter("Positions and trades", (*blocks, *_trips(run)))


def _drawn(run: Ledger, n: int) -> str:
    """What the markers leave out."""
    own = run.fills[run.fills[:, FILL_INSTRUMENT] == n]
    filled = int(np.count_nonzero(own[:, FILL_QUANTITY]))
    if filled <= charts.MAX_MARKERS:
        return ""
    return f"The {charts.MAX_MARKERS} largest of {filled:,} fills are marked."


def _trips(run: Ledger) -> list[Block]:
    trips = round_trips(run)
    if trips.empty:
        return [Text("No round trip was closed.")]
    ranked = trips.sort_values("profit", kind="stable")
    last = trips.tail(LAST_TRIPS)
    every = f"The last {len(last)} of {len(trips)} round trips"
    return [
        _trips_table(ranked.iloc[::-1].head(EXTREME_TRIPS), run, "Best round trips"),
        _trips_table(ranked.head(EXTREME_TRIPS), run, "Worst round trips"),
        Text(
            "From flat to flat, net of fee and slippage, without financing; entry and exit in "
            f"quote currency, fees and profit in {run.account_currency}."
        ),
        _trips_table(last, run, every, folded=True),
    ]


def _trips_table(trips: pd.DataFrame, run: Ledger, title: str, folded: bool = False) -> Table:
    def day(stamp: pd.Timestamp) -> str:
        return str(stamp.strftime("%Y-%m-%d %H:%M"))

    currency = run.account_currency
    rows: list[tuple[Cell, ...]] = [
        (
            trip["symbol"],
            trip["side"],
            day(trip["opened"]),
            day(trip["closed"]),
            count(trip["bars"], "bars"),
            quantity(trip["quantity"], "units"),
            quantity(trip["entry"], "quote currency"),
            quantity(trip["exit"], "quote currency"),
            money(trip["fees"], currency),
            money(trip["profit"], currency, signed=True),
            percent(trip["return"], 2, signed=True),
        )
        for trip in trips.to_dict("records")
    ]
    headings = ("symbol", "side", "opened", "closed", "bars", "units", "entry", "exit")
    return table_of((*headings, "fees", "profit", "return"), rows, title, folded=folded)


def limits(found: Findings) -> Chapter:
    """Which limits bound and how often, and whether the value at risk was exceeded as promised."""
    run = found.policy
    mask = run.column("binding").astype(np.int64)
    rows = [
        (text, percent(float(np.mean((mask & bit) != 0))), count(int(((mask & bit) != 0).sum())))
        for bit, text in LIMIT_TEXTS.items()
        if (mask & bit).any()
    ]
    quiet = [text for bit, text in LIMIT_TEXTS.items() if not (mask & bit).any()]
    blocks: list[Block] = []
    if rows:
        share = float(np.mean(mask != 0))
        blocks.append(table_of(("limit", "share of bars", "bars"), rows, "What bound"))
        blocks.append(Text(f"On {share:.1%} of the bars some limit bound in the plan."))
        blocks.append(Text(f"Never bound: {', '.join(quiet)}."))
    else:
        blocks.append(Text("No limit ever bound: this run says nothing about what they do."))
    return Chapter("Limits and value at risk", (*blocks, *_value_at_risk(found)))


def _value_at_risk(found: Findings) -> list[Block]:
    run, risk = found.policy, found.risk
    if risk.coverage is None:
        return [Text(f"Value at risk not tested: fewer than {MIN_BARS} bars with a forecast.")]
    tested = risk.coverage
    bars = int(np.isfinite(risk.value_at_risk).sum())
    says = (
        f"Returns of the bars with the forecast 95 % value at risk of the book: exceeded on "
        f"{tested.exceedances} of {bars} bars, {tested.expected:.0f} expected."
    )
    note = (
        "Forecast at the close before from the book behind the orders of the open, EWMA "
        "covariance, normal quantile; bars with a flat book have none."
    )
    figure = Figure("Value at risk", says, charts.value_at_risk_chart(run, risk), note)
    return [figure, Text(_spoken(tested, bars)), _coverage_table(tested)]


def _spoken(tested: Coverage, bars: int) -> str:
    often = tested.exceedances / bars
    head = f"Exceeded on {tested.exceedances} of {bars:,} bars ({often:.1%}, promised 5.0 %): "
    if tested.frequency_p >= SIGNIFICANT:
        rate = "as often as promised"
    else:
        rate = "more often than promised" if tested.exceedances > tested.expected else "too rarely"
    clusters = (
        "no sign of clusters"
        if tested.independence_p >= SIGNIFICANT
        else "exceedances follow each other"
    )
    return f"{head}{rate}, {clusters}."


def _coverage_table(tested: Coverage) -> Table:
    rows = (
        ("as often as promised? (Kupiec)", tested.frequency, tested.frequency_p),
        ("independent of each other? (Christoffersen)", tested.independence, tested.independence_p),
        ("both", tested.both, tested.both_p),
    )
    shown = [(name, ratio(value, "likelihood ratio"), probability(p)) for name, value, p in rows]
    return table_of(("question", "likelihood ratio", "p-value"), shown)


def costs(found: Findings) -> Chapter:
    """Every kind of cost by instrument and over time, and what other costs would leave."""
    run, parts = found.policy, found.attribution
    paid = {"commission": parts.fees, "slippage": parts.slippage, "financing": parts.financing}
    by_time = {
        "commission": run.column("fee"),
        "half spread and slippage": run.column("slippage"),
        "financing": run.column("financing"),
    }
    currency = run.account_currency
    rows: list[tuple[Cell, ...]] = []
    for n, symbol in enumerate((*run.symbols, "all")):
        column = slice(None) if symbol == "all" and n == len(run.symbols) else n
        sums = [float(each[:, column].sum()) for each in paid.values()]
        total = sum(sums)
        share = total / run.initial_equity
        rows.append((symbol, *(money(each, currency) for each in (*sums, total)), percent(share)))
    headings = ("", "commission", "spread and slippage", "financing", "total", "of deposit")
    note = f"Money in {currency}; financing below zero was received."
    blocks: list[Block] = [
        table_of(headings, rows, f"Paid, {currency}"),
        Text(_price_of_trading(found)),
        Figure(
            "Cumulative costs",
            "Commission, half spread with slippage, and financing, added up over time.",
            charts.cost_chart(run, by_time),
            note,
        ),
    ]
    return Chapter("Costs", (*blocks, *_sensitivity(found), *_refusals(run)))


def _price_of_trading(found: Findings) -> str:
    run, parts = found.policy, found.attribution
    earned = float(parts.before_costs.sum())
    paid = earned - float(parts.gains.sum())
    money_of = f"{earned:+,.0f} {run.account_currency}"
    years = found.summaries[0]["bars"] / found.summaries[0]["periods_per_year"]
    yearly = paid / run.initial_equity / years if years > 0 else float("nan")
    pace = f", {yearly:.2%} of the deposit a year" if np.isfinite(yearly) else ""
    if earned <= 0.0:
        return f"Prices alone earned {money_of} before costs of {paid:,.0f}{pace}."
    return (
        f"Prices alone earned {money_of}; costs took {paid:,.0f} of it ({paid / earned:.0%}){pace}."
    )


def _sensitivity(found: Findings) -> list[Block]:
    curve = found.material.costs
    if curve is None:
        return []
    rows: list[tuple[Cell, ...]] = [
        (
            f"{point.scale:g} x",
            percent(point.annual_return, signed=True),
            Estimate(point.sharpe, *point.interval, SHARPE_UNIT),
            ratio(point.turnover_per_year, "x equity per year"),
            percent(point.cost_per_year, 2),
        )
        for point in curve.points
    ]
    headings = ("costs", "annual return", "Sharpe (95 % interval)", "turnover/year", "paid/year")
    says = f"Annual return against costs in units of the configured ones. {curve.sentence}"
    note = (
        f"{curve.sentence} Spread, slippage and commission are scaled, financing is not; every "
        "point is a run of its own, and a policy that sees its costs may trade less under higher."
    )
    chart = study_charts.cost_curve_chart(curve)
    return [Figure("Cost sensitivity", says, chart, note), table_of(headings, rows)]


def _refusals(run: Ledger) -> list[Block]:
    frame = run.fills_frame()
    short = frame[(frame["quantity"] == 0.0) | (frame["quantity"] != frame["wanted"])]
    if short.empty:
        return [Text("Every order was filled as wanted.")]
    rows: list[tuple[str, Number]] = [
        (str(reason), count(int(number), "orders"))
        for reason, number in short["reason"].value_counts().items()
    ]
    return [table_of(("reason", "orders"), rows, "Refused or shrunk orders")]
