# SPDX-License-Identifier: Apache-2.0
"""What vectorbt says about a replayed ledger: its own statistics and its own plots.

Statistics of returns come from the audited equity at our closes, so that the cash offset of the
replay does not dilute them; trades come from the replay's order records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mtquant.backtest.vectorbt_audit import LOAN, Audit
from mtquant.evaluation.significance.bootstrap import sharpe_estimate
from mtquant.market.ledger import Ledger

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


READING = "How to read it"
FROM_FIRST_CLOSE = """\
Max Drawdown is measured from the first close on, so a loss in the first bar is not in it.
The drawdown at the head of this report is measured from the deposit."""
LOANS = """\
What pays in another currency has two columns: the instrument, and the loan in that currency that
bought it. Its profit is the sum of both; where the instrument is itself the rate to the account
currency, all of it stands under the loan: {columns}."""


def vectorbt_tables(audit: Audit, ledger: Ledger, periods_per_year: float) -> dict[str, Any]:
    """What to know when reading (text), then statistics by heading (pandas objects): returns,
    drawdowns, trades.
    """
    import vectorbt  # noqa: F401 - registers the accessor

    equity = _equity(audit, ledger)
    returns = _returns(equity, ledger, periods_per_year).stats(silence_warnings=True)
    returns["Sharpe Ratio"] = _with_interval(returns["Sharpe Ratio"], ledger, periods_per_year)
    tables: dict[str, Any] = {
        "Returns": returns,
        "Drawdowns": equity.vbt(freq=_bar(ledger)).drawdowns.stats(),
    }
    trades = _trades(audit)
    if len(trades.records):
        # The replay has rows for fills as well as for bars: what counts rows as time is left out.
        stats = trades.stats(group_by=True)
        timed = ("Start", "End", "Period", "Coverage", "Overlap Coverage")
        tables["Trades"] = stats[[n for n in stats.index if n not in timed and "Dur" not in n]]
    return {READING: _reading(audit)} | {name: _readable(each) for name, each in tables.items()}


def vectorbt_figures(audit: Audit, ledger: Ledger, periods_per_year: float) -> dict[str, Figure]:
    """Plots by heading: cumulative returns, drawdowns, profit of the trades per instrument."""
    import vectorbt  # noqa: F401

    equity = _equity(audit, ledger)
    figures = {
        "Cumulative returns": _returns(equity, ledger, periods_per_year).plot_cumulative(),
        "Five largest drawdowns": equity.vbt(freq=_bar(ledger)).drawdowns.plot(top_n=5),
    }
    trades = _trades(audit)
    for column in audit.columns[:-1]:
        if len(trades.records) and (trades.records["col"] == audit.columns.index(column)).any():
            figures[f"Trades in {column}"] = trades.plot_pnl(column=column)
    return figures


def _with_interval(ratio: float, ledger: Ledger, periods_per_year: float) -> str:
    """Vectorbt's ratio and our interval: no report shows one without the other."""
    found = sharpe_estimate(ledger.column("simple_return"), periods_per_year, seed=0)
    if not np.isfinite([ratio, found.low, found.high]).all():
        return "no interval, so not shown"
    return f"{ratio:.6g} (95 % interval {found.low:z.2f} to {found.high:z.2f})"


def _reading(audit: Audit) -> str:
    """Where vectorbt's figures mean something else than ours."""
    loans = [column for column in audit.columns if column.endswith(LOAN)]
    notes = [FROM_FIRST_CLOSE, LOANS.format(columns=", ".join(loans))]
    return "\n".join(notes[: 1 + bool(loans)])


def _trades(audit: Audit) -> Any:
    """The replay's trades, without those of the last column, which only carry financing."""
    trades = audit.portfolio.trades
    return trades.apply_mask(trades.col_arr != len(audit.columns) - 1)


def _equity(audit: Audit, ledger: Ledger) -> pd.Series:
    index = ledger.index.tz_convert(None)
    return pd.Series(audit.equity, index=index, name=ledger.name)


def _returns(equity: pd.Series, ledger: Ledger, periods_per_year: float) -> Any:
    """Vectorbt's returns accessor, with the bars' own calendar as its year."""
    before = np.concatenate([[ledger.initial_equity], equity.to_numpy()[:-1]])
    returns = pd.Series(equity.to_numpy() / before - 1.0, index=equity.index, name=equity.name)
    bar = _bar(ledger)
    return returns.vbt.returns(freq=bar, year_freq=bar * periods_per_year)


def _bar(ledger: Ledger) -> pd.Timedelta:
    """The usual time between two closes; vectorbt guesses it, if at all, with a warning."""
    return pd.Timedelta(np.median(np.diff(ledger.stamps)), unit="ns")


def _readable(table: pd.Series) -> pd.DataFrame:
    """Statistic and value, numbers with six significant digits."""

    def text(value: object) -> str:
        return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)

    return pd.DataFrame({"value": [text(value) for value in table]}, index=table.index)
