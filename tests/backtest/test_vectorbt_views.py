# SPDX-License-Identifier: Apache-2.0
"""vectorbt's tables and plots of a replayed ledger: its figures of our account, nothing diluted."""

from __future__ import annotations

import numpy as np
import pytest

from mtquant.backtest.vectorbt_audit import Audit, audit
from mtquant.backtest.vectorbt_views import READING, vectorbt_figures, vectorbt_tables
from mtquant.core import outcome as oc
from mtquant.evaluation.metrics import max_drawdown, sharpe
from mtquant.market.ledger import Ledger
from tests.support.builders import make_bars
from tests.support.markets import DAY, SYMBOLS, Portfolio
from tests.support.specialists import Replay

PER_YEAR = 365.25  # the bars are daily, weekends included


@pytest.fixture(scope="module")
def judged() -> tuple[Audit, Ledger]:
    """A random policy on two instruments, with costs and financing."""
    bars = [make_bars(symbol, 120, seed, DAY) for seed, symbol in enumerate(SYMBOLS)]
    portfolio = Portfolio.build(bars)
    targets = np.random.Generator(np.random.PCG64(0)).uniform(-0.1, 0.1, (120, 2))
    ledger = portfolio.run(Replay(targets))
    return audit(ledger, portfolio.rules), ledger


def test_returns_are_those_of_the_account(judged: tuple[Audit, Ledger]) -> None:
    tables = vectorbt_tables(*judged, PER_YEAR)
    ledger = judged[1]
    returns = tables["Returns"]["value"]
    growth = ledger.equity[-1] / ledger.initial_equity - 1.0
    # Six significant digits are shown.
    assert float(returns["Total Return [%]"]) == pytest.approx(100.0 * growth, rel=1e-5)
    ours = sharpe(ledger.column("simple_return"), PER_YEAR)
    assert float(returns["Sharpe Ratio"].split(" ")[0]) == pytest.approx(ours, rel=1e-5)
    # vectorbt measures from the first close on, ours from the deposit.
    fall = max_drawdown(ledger.equity[1:], ledger.equity[0])
    assert float(returns["Max Drawdown [%]"]) == pytest.approx(100.0 * fall, rel=1e-5)
    assert "Max Drawdown [%]" in tables["Drawdowns"].index


def test_trades_are_those_of_the_fills(judged: tuple[Audit, Ledger]) -> None:
    found, ledger = judged
    tables = vectorbt_tables(found, ledger, PER_YEAR)
    assert list(tables) == [READING, "Returns", "Drawdowns", "Trades"]
    assert "from the first close on" in tables[READING] and "loan" not in tables[READING]
    trades = tables["Trades"]["value"]
    # vectorbt's exit trades: one for every fill that reduces or turns a position, and what is open
    # at the end.
    quantity, instrument = (ledger.fills[:, c] for c in (oc.FILL_QUANTITY, oc.FILL_INSTRUMENT))
    exits = 0
    for n in range(2):
        done = quantity[instrument == n]
        held = np.concatenate([[0.0], np.cumsum(done)[:-1]])
        exits += int((held * done < 0.0).sum())
    assert int(trades["Total Closed Trades"]) == exits
    assert int(trades["Total Records"]) == exits + int(trades["Total Open Trades"])


def test_there_is_a_plot_for_every_instrument_that_traded(judged: tuple[Audit, Ledger]) -> None:
    figures = vectorbt_figures(*judged, PER_YEAR)
    assert set(figures) == {
        "Cumulative returns",
        "Five largest drawdowns",
        "Trades in EURUSD",
        "Trades in GBPUSD",
    }
    assert all(len(figure.data) > 0 for figure in figures.values())


def test_an_account_that_never_traded() -> None:
    bars = [make_bars("EURUSD", 60, 0, DAY)]
    portfolio = Portfolio.build(bars)
    ledger = portfolio.run(Replay(np.zeros((60, 1))))
    found = audit(ledger, portfolio.rules)
    assert "Trades" not in vectorbt_tables(found, ledger, PER_YEAR)
    assert set(vectorbt_figures(found, ledger, PER_YEAR)) == {
        "Cumulative returns",
        "Five largest drawdowns",
    }


def test_loans_are_explained() -> None:
    """USDJPY is the rate itself: its column stands still and the loan in yen earns."""
    bars = [make_bars("USDJPY", 60, 0, DAY)]
    portfolio = Portfolio.build(bars)
    ledger = portfolio.run(Replay(np.full((60, 1), 0.1)))
    found = audit(ledger, portfolio.rules)
    said = vectorbt_tables(found, ledger, PER_YEAR)[READING]
    assert said.endswith("all of it stands under the loan: USDJPY loan.")
