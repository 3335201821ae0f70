# SPDX-License-Identifier: Apache-2.0
"""The chapter on who earned what: instruments, specialists, phases of training."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mtquant.evaluation.metrics import periods_per_year, total_return
from mtquant.evaluation.report import charts
from mtquant.evaluation.report.cells import SHARPE_UNIT, count, money, percent
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
from mtquant.evaluation.significance.bootstrap import sharpe_estimate
from mtquant.evaluation.trips import round_trips
from mtquant.market.ledger import Ledger

Float = NDArray[np.float64]


def attribution(found: Findings) -> Chapter:
    """Gains by instrument, by specialist and by phase."""
    run = found.policy
    gains = dict(zip(run.symbols, found.attribution.gains.T, strict=True))
    unit = run.account_currency
    says = f"Gain of every instrument after all costs, added up over time, {unit}."
    blocks: list[Block] = [
        Figure("By instrument", says, charts.gains_chart(run.stamps, gains, unit)),
        _instruments_table(found),
        Text("Gains after commission, spread, slippage and financing; they sum to the account's."),
    ]
    blocks += _specialists(found)
    blocks += _phases(found)
    return Chapter("Attribution", tuple(blocks))


def _instruments_table(found: Findings) -> Table:
    run, parts = found.policy, found.attribution
    trips = round_trips(run)
    held = charts.exposures(run)
    currency, rows = run.account_currency, []
    for n, symbol in enumerate(run.symbols):
        own = trips[trips["symbol"] == symbol]
        won = float((own["profit"] > 0).sum() / len(own)) if len(own) else float("nan")
        rows.append(
            (
                symbol,
                *_earned(parts.before_costs[:, n], parts.gains[:, n], run),
                percent(float(np.mean(np.abs(held[:, n])))),
                percent(float(np.mean(held[:, n])), signed=True),
                count(len(own), "round trips"),
                percent(won, 0),
            )
        )
    total = _earned(parts.before_costs.sum(axis=1), parts.gains.sum(axis=1), run)
    closed = len(trips)
    won = float((trips["profit"] > 0).sum() / closed) if closed else float("nan")
    gross = percent(float(np.mean(np.abs(held).sum(axis=1))))
    net = percent(float(np.mean(held.sum(axis=1))), signed=True)
    rows.append(("all", *total, gross, net, count(closed, "round trips"), percent(won, 0)))
    headings = ("", f"before costs, {currency}", f"gain, {currency}", "of deposit")
    more = ("mean exposure", "mean net", "trips", "won")
    return table_of((*headings, *more), rows)


def _earned(before: Float, after: Float, run: Ledger) -> tuple[Number, Number, Number]:
    currency, gain = run.account_currency, float(after.sum())
    return (
        money(float(before.sum()), currency, signed=True),
        money(gain, currency, signed=True),
        percent(gain / run.initial_equity, signed=True),
    )


def _specialists(found: Findings) -> list[Block]:
    """Gains of those who speak for instruments; nothing where each has one of its own name."""
    named = found.material.specialists
    if not named:
        return []
    run, parts = found.policy, found.attribution
    rows: list[tuple[Cell, ...]] = []
    for name, symbols in named.items():
        columns = [run.symbols.index(symbol) for symbol in symbols]
        before, after = (each[:, columns].sum(axis=1) for each in (parts.before_costs, parts.gains))
        rows.append((name, ", ".join(symbols), *_earned(before, after, run)))
    currency = run.account_currency
    headings = ("specialist", "speaks for", f"before costs, {currency}", f"gain, {currency}")
    note = "What a specialist's instruments earned, sized by whoever shares out the capital."
    return [table_of((*headings, "of deposit"), rows, "By specialist"), Text(note)]


def _phases(found: Findings) -> list[Block]:
    """What every phase of training added: the return of its policy less that of the one before."""
    phases = found.material.phases
    if not phases:
        return []
    rows: list[tuple[Cell, ...]] = []
    returns = [total_return(run.equity, run.initial_equity) for run in phases.values()]
    added = [returns[0], *(later - earlier for earlier, later in pairwise(returns))]
    for (name, run), own, more in zip(phases.items(), returns, added, strict=True):
        ratio = sharpe_estimate(
            run.column("simple_return"), periods_per_year(run.stamps), found.material.seed
        )
        estimate = Estimate(ratio.ratio, ratio.low, ratio.high, SHARPE_UNIT)
        rows.append((name, percent(own, signed=True), percent(more, signed=True), estimate))
    gains = {name: np.diff(run.equity, prepend=run.initial_equity) for name, run in phases.items()}
    unit = found.policy.account_currency
    longest = max(phases.values(), key=len)
    figure = Figure(
        "By phase of training",
        "Gain of what each phase of training left, on the same bars under the same rules.",
        charts.gains_chart(longest.stamps, gains, unit),
    )
    headings = ("", "total return", "added", "Sharpe (95 % interval)")
    return [figure, table_of(headings, rows)]
