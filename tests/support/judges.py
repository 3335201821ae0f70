# SPDX-License-Identifier: Apache-2.0
"""Runs the compiled desk and the second desk on the same tape and compares everything they say."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.desk import Desk
from mtquant.market.ledger import Ledger
from mtquant.market.rules import Rules
from mtquant.market.tape import (
    C_ELAPSED,
    T_CLOSE,
    T_EXTRA_COST,
    T_HIGH,
    T_LOW,
    T_OPEN,
    T_RATE_CLOSE,
    T_RATE_OPEN,
    T_TRADABLE,
    Tape,
)
from mtquant.risk.limits import RISK_CORRELATION, RISK_DEVIATION
from tests.market.second_desk import SecondDesk


def run_desk(
    tape: Tape, rules: Rules, targets: NDArray[np.float64], cost_scale: float = 1.0
) -> Ledger:
    """The compiled desk over a whole tape; `targets[t]` is decided at the close of row t."""
    desk = Desk(tape, rules, "test", cost_scale=cost_scale)
    for t in range(len(tape.stamps) - 1):
        desk.plan(targets[t])
        desk.advance()
        if desk.bankrupt:
            break
    return desk.ledger()


def run_second_desk(
    tape: Tape, rules: Rules, targets: NDArray[np.float64], cost_scale: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The plain-Python desk: outcomes [T, columns] (NaN where it knows no column) and fills [M,
    columns].
    """
    instruments = []
    for item, own in zip(rules.instruments, tape.own_rate, strict=True):
        entry = asdict(item)
        entry |= {"stop": item.stop_loss_frac, "take": item.take_profit_frac, "own_rate": own}
        instruments.append(entry)
    settings = {
        "fill_at": rules.fill_at,
        "gross_cap": rules.max_gross_exposure,
        "limit_method": rules.limit_method,
        "maintenance_margin_frac": rules.maintenance_margin_frac,
        "bankruptcy_equity_frac": rules.bankruptcy_equity_frac,
        "latency_bars": rules.latency_bars,
        "rebalance_band": rules.rebalance_band,
    }
    desk = SecondDesk(instruments, settings, rules.initial_equity, cost_scale)
    desk.start(_bars(tape, rules, 0))
    rows = []
    for t in range(len(tape.stamps) - 1):
        desk.plan([float(x) for x in targets[t]])
        elapsed = float(tape.clock[t + 1, C_ELAPSED])
        outcome = desk.bar(_bars(tape, rules, t + 1), elapsed, _risk(tape, rules, t))
        rows.append([outcome.get(name, np.nan) for name in oc.OUTCOME_COLUMNS])
        if outcome["status"] == oc.STATUS_BANKRUPT:
            break
    names = ("bar", *oc.FILL_COLUMNS[1:])
    fills = np.array([[fill[name] for name in names] for fill in desk.fills], dtype=np.float64)
    fills = fills.reshape(len(desk.fills), len(oc.FILL_COLUMNS))
    fills[:, oc.FILL_ROW] += 1.0  # bar 0 of the second desk is the tape's row 1
    return np.array(rows, dtype=np.float64), fills


def _bars(tape: Tape, rules: Rules, row: int) -> list[dict[str, object]]:
    names = {
        "open": T_OPEN,
        "high": T_HIGH,
        "low": T_LOW,
        "close": T_CLOSE,
        "rate_open": T_RATE_OPEN,
        "rate_close": T_RATE_CLOSE,
        "extra_cost": T_EXTRA_COST,
    }
    bars = []
    for one, item in zip(tape.prices[row], rules.instruments, strict=True):
        told, lots = float(one[T_TRADABLE]), math.floor(one[T_TRADABLE] - 1.0)
        facts = {"tradable": told > 0.0, "most": lots * item.lot if told > 1.0 else math.inf}
        bars.append({**{name: float(one[k]) for name, k in names.items()}, **facts})
    return bars


def _risk(tape: Tape, rules: Rules, row: int) -> dict[str, list[float]] | None:
    """Deviations and correlations known at a row, where the rules ask for risks."""
    if not rules.measures_risk():
        return None
    n, table = len(tape.symbols), tape.risk(rules.var_method).rows[row]
    correlations = table[RISK_CORRELATION : RISK_CORRELATION + n]
    return {"sigma": table[RISK_DEVIATION].tolist(), "rho": correlations.tolist()}


def desk_difference(
    tape: Tape, rules: Rules, targets: NDArray[np.float64], cost_scale: float = 1.0
) -> float:
    """Largest difference between the two desks, relative to the deposit (money) or to the value
    itself, at least 1 (everything else).

    Infinite when they disagree on a fact: a fill that the other does not have, its origin or
    reason, a limit, a ruin.
    """
    ours = run_desk(tape, rules, targets, cost_scale)
    outcomes, fills = run_second_desk(tape, rules, targets, cost_scale)
    if ours.outcomes.shape != outcomes.shape or ours.fills.shape != fills.shape:
        return float("inf")
    facts = [oc.FILL_ROW, oc.FILL_INSTRUMENT, oc.FILL_ORIGIN, oc.FILL_REASON]
    if not np.array_equal(ours.fills[:, facts], fills[:, facts]):
        return float("inf")
    for column in (oc.BINDING, oc.STATUS):
        if not np.array_equal(ours.outcomes[:, column], outcomes[:, column]):
            return float("inf")
    money = [oc.EQUITY_BEFORE, oc.EQUITY, oc.FEE, oc.SLIPPAGE, oc.FINANCING]
    scale = np.maximum(1.0, np.abs(outcomes))
    scale[:, money] = rules.initial_equity
    # The plain desk knows no benchmark.
    judged = [k for k in range(len(oc.OUTCOME_COLUMNS)) if k != oc.BENCHMARK]
    worst = np.abs((ours.outcomes - outcomes) / scale)[:, judged].max(initial=0.0)
    known = np.nan_to_num(fills)
    gap = np.abs(np.nan_to_num(ours.fills) - known) / np.maximum(1.0, np.abs(known))
    return float(max(worst, gap.max(initial=0.0)))
