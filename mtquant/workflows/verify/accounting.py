# SPDX-License-Identifier: Apache-2.0
"""The accounting identity: a second book is kept from the fills alone, and the ledger has to agree.

Cash begins as the deposit and changes by what fills realise, commissions and financing; equity is
cash and what open positions have gained at the closes and rates of the bar (docs/execution.md).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mtquant.core import outcome as oc
from mtquant.market.ledger import Ledger
from mtquant.workflows.verify.record import Finding, Record
from mtquant.workflows.verify.subject import Subject

NAME = "accounting identity"
REMEDY = "Money appeared or went: keep the ledger and report it with the run card."
TOLERANCE = 1e-9  # of the deposit
Float = NDArray[np.float64]


def check_accounting(subject: Subject, ledger: Ledger) -> Record:
    """Rebuilds equity, positions and costs of every bar from the fills."""
    equity, positions, fees, slippage = rebuilt(ledger)
    before = np.concatenate(([ledger.initial_equity], ledger.equity[:-1]))
    deposit = ledger.initial_equity
    columns = (
        ("equity", ledger.equity, equity, deposit),
        ("equity_before", ledger.column("equity_before"), before, deposit),
        ("fee", ledger.column("fee"), fees, deposit),
        ("slippage", ledger.column("slippage"), slippage, deposit),
        ("financing", ledger.column("financing"), ledger.financing.sum(axis=1), deposit),
        ("simple_return", ledger.column("simple_return"), ledger.equity / before - 1.0, 1.0),
        *(
            (f"position of {symbol}", ledger.positions[:, n], positions[:, n], _scale(ledger, n))
            for n, symbol in enumerate(ledger.symbols)
        ),
    )
    findings = []
    for name, written, rebuilt_column, unit in columns:
        gap = np.abs(written - rebuilt_column) / unit
        wrong = np.flatnonzero(~(gap <= TOLERANCE))
        if len(wrong):
            findings.append(_finding(subject, ledger, name, wrong, (written, rebuilt_column, gap)))
    done = int((ledger.fills[:, oc.FILL_QUANTITY] != 0.0).sum())
    looked = (
        f"equity, positions, fees, slippage and financing of {len(ledger):,} bars follow from "
        f"{done:,} fills to {TOLERANCE:g} of the deposit"
    )
    return Record.of(NAME, findings, looked, REMEDY)


def rebuilt(ledger: Ledger) -> tuple[Float, Float, Float, Float]:
    """Equity [T], positions [T, N], fees [T] and slippage [T] that follow from the fills."""
    bars, n_instruments = len(ledger), len(ledger.symbols)
    held, average = np.zeros(n_instruments), np.zeros(n_instruments)
    multipliers = np.array(ledger.multipliers)
    cash = ledger.initial_equity
    equity, positions = np.zeros(bars), np.zeros((bars, n_instruments))
    fees, slippage = np.zeros(bars), np.zeros(bars)
    booked = _booked(ledger)
    order = np.argsort(booked, kind="stable")
    place = 0
    for t in range(bars):
        while place < len(order) and booked[order[place]] == t:
            fill = ledger.fills[order[place]]
            cash += _fill(fill, held, average, multipliers)
            fees[t] += fill[oc.FILL_FEE]
            slippage[t] += fill[oc.FILL_SLIPPAGE]
            place += 1
        cash -= ledger.financing[t].sum()
        open_gain = held * multipliers * (ledger.prices[t] - average) * ledger.rates[t]
        equity[t] = cash + np.where(held != 0.0, open_gain, 0.0).sum()
        positions[t] = held
    return equity, positions, fees, slippage


def _fill(fill: Float, held: Float, average: Float, multipliers: Float) -> float:
    """Books one fill into positions and averages; what it brings in cash."""
    n, done = int(fill[oc.FILL_INSTRUMENT]), float(fill[oc.FILL_QUANTITY])
    price, rate = float(fill[oc.FILL_PRICE]), float(fill[oc.FILL_RATE])
    if done == 0.0:
        return 0.0
    q = float(held[n])
    closed = min(abs(done), abs(q)) if q * done < 0.0 else 0.0
    gained = closed * np.sign(q) * multipliers[n] * (price - average[n]) * rate
    opened = abs(done) - closed
    if closed == 0.0:
        average[n] = (average[n] * abs(q) + price * opened) / (abs(q) + opened)
    elif opened > 0.0:
        average[n] = price
    held[n] = q + done
    if abs(held[n]) < 1e-9 * abs(done):  # the desk snaps to whole lots
        held[n] = 0.0
    return float(gained - fill[oc.FILL_FEE])


def _booked(ledger: Ledger) -> NDArray[np.int64]:
    """Bar of the ledger that books each fill, int64 [M]."""
    row = ledger.fills[:, oc.FILL_ROW].astype(np.int64)
    if ledger.fill_at == "close":  # orders are dated to the close before the bar that books them
        row = row + (ledger.fills[:, oc.FILL_ORIGIN] == oc.ORIGIN_ORDER)
    found: NDArray[np.int64] = np.searchsorted(ledger.rows, row).astype(np.int64)
    return found


def _scale(ledger: Ledger, n: int) -> float:
    """Units of an instrument that count as 1: the largest position."""
    return max(float(np.abs(ledger.positions[:, n]).max(initial=0.0)), 1.0)


def _finding(
    subject: Subject,
    ledger: Ledger,
    name: str,
    wrong: NDArray[np.int64],
    values: tuple[Float, Float, Float],
) -> Finding:
    written, expected, gap = values
    at = int(wrong[0])  # the first, where the lie began
    text = (
        f"the ledger says {float(written[at]):.8g}, its fills {float(expected[at]):.8g} "
        f"({len(wrong)} bars differ)"
    )
    row = int(ledger.rows[at])
    return Finding(name, text, "", row, subject.stamp(row), float(np.nanmax(gap)))
